// Package simplepush lets SimplePush clients be devices: version 1 of Mozilla's
// protocol, with the messages that the carriers' servers added.
//
// It promises what its client counts on: a UAID that is answered is the
// device's until it says another; a notification comes again until an ack names
// its channel and version. Whoever has the UAID is the device, there is no
// secret. It keeps nothing: a connection is translated, message by message, for
// the session that it belongs to.
//
// The protocol is that of https://wiki.mozilla.org/WebAPI/SimplePush/Protocol;
// where that is silent this package does as Mozilla's server pushgo did
// (github.com/jrconlin/pushgo, simplepush/worker.go, error.go and id.go), and
// in what concerns waking as Telefónica's did
// (github.com/telefonicaid/notification_server, ns_ua/apis/SimplePushAPI_WS_v1.js).
package simplepush
