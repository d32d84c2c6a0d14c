package client

import (
	"slices"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// echoes keeps from a relay what the answer to a poll brings though it was
// acked while the poll was out: the answer was made before the ack came. The
// relay may have forgotten a message since, and would take it for a new one. A
// WebSocket keeps the order, and needs none of this.
//
// What is counted are acks, as in poll, whose mu guards it.
type echoes struct {
	out   []uint64 // of each poll that is out: how many acks upstream had taken when it left
	acked map[edition.Key]lastAck
	floor uint64 // all in acked are above
}

type lastAck struct {
	version edition.Version
	count   uint64 // of acks, this one included
}

func (e *echoes) note(u edition.Update, count uint64) {
	if e.acked == nil {
		e.acked = make(map[edition.Key]lastAck)
	}
	for _, ev := range u {
		e.acked[ev.Key] = lastAck{max(ev.Version, e.acked[ev.Key].version), count}
	}
}

// forget drops what no answer can bring any more: what was taken before all
// polls that are out, and all to come, have left. posted acks were taken.
func (e *echoes) forget(posted uint64) {
	for _, left := range e.out {
		posted = min(posted, left)
	}
	if posted <= e.floor {
		return
	}
	e.floor = posted
	for k, a := range e.acked {
		if a.count <= posted {
			delete(e.acked, k)
		}
	}
}

// leave notes that a poll leaves, and returns what arrive wants.
func (p *poll) leave() (taken uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.echoes.out = append(p.echoes.out, p.posted)
	return p.posted
}

// arrive notes that a poll is answered, or has failed, and returns what of its
// events was not acked meanwhile. Somebody calls handed when they are handed
// out.
func (p *poll) arrive(taken uint64, u wire.Updates) wire.Updates {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &p.echoes
	at := slices.Index(e.out, taken)
	e.out = slices.Delete(e.out, at, at+1)
	if len(e.acked) > 0 {
		u = slices.DeleteFunc(u, func(ev edition.Event) bool {
			a, ok := e.acked[ev.Key]
			return ok && a.count > taken && ev.Version <= a.version
		})
	}
	e.forget(p.posted)
	if p.c.cfg.Relay != "" {
		p.handing++
	}
	return u
}

// handed notes that what has arrived with a poll is handed out.
func (p *poll) handed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c.cfg.Relay == "" {
		return
	}
	if p.handing--; p.handing == 0 {
		p.advance()
	}
}

// echoed reports whether what was acked so may be forgotten here before
// upstream has taken the ack.
func (p *poll) echoed(kind ackKind) bool {
	cfg := &p.c.cfg
	return cfg.Relay != "" && (kind == ackDelivered || kind == ackStored && cfg.Custody == wire.CustodyRelay)
}
