// Package smpp speaks the Short Message Peer-to-Peer protocol, version 3.4,
// from the side of the program that hands in short messages (the ESME): it
// binds, submits within a window, takes receipts, and keeps the link alive.
//
// It promises that nothing the other side sends makes it hold more than one
// PDU of 64 KiB besides a bounded number that wait, that every Submit returns
// with an answer or an error, and that Close leaves nothing behind. It does
// not reconnect, retry, split long messages, or do query_sm, cancel_sm,
// replace_sm, submit_multi and data_sm.
//
// Sections are those of "Short Message Peer to Peer Protocol Specification
// v3.4", 12-Oct-1999 Issue 1.2.
package smpp
