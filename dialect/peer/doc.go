// Package peer is what a device of another protocol than edition.v1 is to its
// dialect: who it is, how it spells its IDs, how it is woken, how often it
// pings. The dialects add their messages.
//
// It promises that a device's own spelling of an ID comes back to it, and that
// no spelling makes two devices, or two apps, of one. It writes no message.
package peer
