// Package session is the device door: it speaks the edition protocol with
// devices and with relays, by WebSocket and by REST.
//
// What it promises: an UPDATE goes only to who proved the UAID, or to the
// relay it is bound to; at most one UPDATE per UAID is in flight on a
// connection; an ack clears what it names and nothing else. A connection holds
// no queue of updates. It is rung, reads the store, and sends what is pending,
// so a slow reader costs no memory and a lost connection loses nothing.
//
// The package decides nothing about events: who keeps them is a store, who is
// told is a hub, who makes endpoints is a registrar. It does not listen; the
// caller passes requests in.
//
// Reading order: Server.ServeHTTP (server.go), conn.serve (read.go),
// conn.flush (flush.go), board (board.go), wheel (wheel.go).
package session
