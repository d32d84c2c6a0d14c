// Package dialect is the other protocols that devices speak over a WebSocket:
// SimplePush, and the one of Mozilla's push service, which Firefox and
// Thunderbird speak. A connection's hello decides which.
//
// It promises that the core learns nothing of them: each is a translator
// (session.Talk) in a package of its own, which calls a session.Device as its
// client speaks. What is not known by the first message, and may be edition.v1,
// goes back to the session.
package dialect
