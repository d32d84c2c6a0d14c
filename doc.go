// Package edition holds the words and the contracts of Edition, a
// push-signalling service: an app server PUTs a version to an endpoint, the
// device gets an update that carries the latest version it has not
// acknowledged, and its ack clears exactly what it has seen.
//
// The package imports the standard library only and does nothing by itself.
// What keeps events is a [Store]; what makes endpoints is a [Registrar].
// Everything else is built on these two: package hub keeps an event and then
// rings the session or kicks the device, package session speaks to devices,
// package publish to app servers, package relay to an upstream.
package edition
