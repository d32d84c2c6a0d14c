// Package relay is the upstream side of `edition relay`: it takes UPDATEs from
// one or more upstreams, has them kept, and only then acknowledges them; it
// passes registrations up, and reports what devices have acknowledged.
//
// What it promises: an event is reported stored only after this relay's own
// store has synced it, and delivered only after the device's ack; what was not
// kept is not acknowledged, so that upstream has it still. A device's secret
// and its kick route never leave this relay: what goes up is the hash of the
// secret. It makes no endpoints, and it holds no events itself.
package relay
