// Package mozpush lets an unmodified Firefox or Thunderbird be a device: the
// protocol between them and Mozilla's push service.
//
// It promises that a message reaches the browser whole, as the app server
// encrypted it, one frame each, and comes again until it is acknowledged.
// Whoever has the UAID is the device, there is no secret. It decrypts nothing,
// and it has no broadcasts: a subscription to one is answered, and nothing ever
// comes.
//
// The protocol has no specification of its own: facts are from the client,
// dom/push/PushServiceWebSocket.sys.mjs of mozilla-central, and the server,
// github.com/mozilla-services/autopush-rs, autoconnect-common/src/protocol.rs
// and autoconnect-ws-sm.
package mozpush
