package session

import (
	"slices"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// lookups is how many UAIDs of a connection are looked up for one UPDATE.
const lookups = 512

// scratch is what a flush works in.
type scratch struct {
	owner  edition.Owner
	uaids  []edition.UAID
	asks   asks
	events edition.Update
	bodies carried // what the events carry
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// flushAlone is flush on a goroutine that is not the connection's reader: a
// fault ends this connection only.
func (c *conn) flushAlone(now bool) {
	defer c.s.conns.Done()
	defer func() {
		if fault := recover(); fault != nil {
			c.s.panicked(fault, "session.conn.flush")
			c.end(websocket.CloseInternalServerErr, "a fault of the server", reasonPanic)
		}
	}()
	c.flush(now)
}

// flush sends what is pending until there is nothing left that may fly. Who
// calls it has set flushing, so that there is one flush at a time. With now it
// does not wait for a slow peer; that is for connections that have one UPDATE
// in flight at most.
func (c *conn) flush(now bool) {
	sc := scratches.Get().(*scratch)
	for c.flushOne(sc, now) {
	}
	if cap(sc.events) > 2*wire.MaxUpdate {
		sc.events = nil
	}
	sc.bodies = nil
	scratches.Put(sc)
}

// flushOne sends one UPDATE: claim UAIDs, read the store, mark what is sent,
// write. From the claim on, a ring means that the UAID is looked at again. It
// is false when there is nothing to do.
func (c *conn) flushOne(sc *scratch, now bool) bool {
	f, walk, pings := c.claim(sc)
	c.pong(pings)
	if f == nil {
		return false
	}
	var err error
	var rest *edition.UAID
	if len(sc.uaids) > 0 || !walk.on {
		rest, err = c.s.look(sc)
	} else {
		err = c.walk(sc, f, walk)
	}
	if err == nil && len(sc.events) > 0 {
		err = c.s.store.Sent(sc.owner, sc.events)
	}
	if err != nil {
		c.pong(c.stall(f, sc, walk, err))
		return false
	}
	id, events := c.launch(f, sc, rest)
	if len(events) == 0 {
		return true
	}
	c.stir()
	c.s.m.updates.Inc()
	c.s.m.events.Add(float64(len(events)))
	if c.talk != nil {
		c.talk.Update(events, sc.bodies.of(events))
		return true
	}
	out := newFrame()
	out.b = sc.bodies.appendUpdate(out.b, id, events, sc.asks.whole)
	if now {
		c.post(websocket.TextMessage, out)
		return true
	}
	if err := c.send(websocket.TextMessage, out); err != nil {
		c.end(0, "", reasonWrite)
	}
	out.free()
	return true
}

// claim opens a flight with dirty UAIDs in it, or none when a relay's walk is
// to go on. It ends the flush, and returns nil, when nothing may fly. The caller
// answers the pings.
func (c *conn) claim(sc *scratch) (_ *flight, walk scan, pings int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pings, c.pings = c.pings, 0
	if c.closing || !c.board.ready(c.window()) {
		c.flushing = false
		return nil, scan{}, pings
	}
	f := c.board.begin()
	sc.owner, sc.asks = c.owner, asks{c.bodies, c.urgency}
	if sc.uaids = c.board.take(sc.uaids[:0], f, lookups); len(sc.uaids) == 0 {
		c.board.read()
	}
	return f, c.board.scan, pings
}

// launch lets go what was read.
func (c *conn) launch(f *flight, sc *scratch, rest *edition.UAID) (uint64, edition.Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.board.launch(f, sc.uaids, sc.events, rest)
	if f.slots = nil; !sc.asks.whole || c.talk != nil {
		f.slots = sc.bodies.slots()
	}
	c.mapped = c.mapped || !sc.asks.whole && f.slots != nil
	if len(events) > 0 {
		f.due = c.s.clock() + c.s.limits.backoff(c.board.tries(f))
	}
	return f.id, events
}

// look reads what is pending for the claimed UAIDs, as much as fits into one
// UPDATE. rest is the first UAID of which not all does.
func (s *Server) look(sc *scratch) (rest *edition.UAID, err error) {
	slices.SortFunc(sc.uaids, edition.UAID.Compare)
	sc.events = sc.events[:0]
	for i := range sc.uaids {
		from := len(sc.events)
		if sc.events, err = s.store.Pending(sc.events, sc.owner, sc.uaids[i]); err != nil {
			return nil, err
		}
		if sc.events, err = s.urgent(sc.events, from, sc.asks.least); err != nil {
			return nil, err
		}
		if len(sc.events) >= wire.MaxUpdate {
			if i+1 < len(sc.uaids) {
				rest = &sc.uaids[i+1]
			}
			break
		}
	}
	var n int
	if sc.bodies, n, err = s.carry(sc.events, sc.asks.whole); err != nil {
		return nil, err
	}
	if n < len(sc.events) {
		rest = &sc.events[n].UAID
		sc.events = sc.events[:n]
	}
	return rest, nil
}

// walk reads the next part of everything that waits for a relay.
func (c *conn) walk(sc *scratch, f *flight, at scan) error {
	found, next, more, err := c.s.store.Scan(sc.events[:0], sc.owner, at.after, wire.MaxUpdate)
	if err != nil {
		return err
	}
	var n int
	if sc.bodies, n, err = c.s.carry(found, sc.asks.whole); err != nil {
		return err
	}
	if n < len(found) {
		found, next, more = found[:n], found[n-1].Key, true
	}
	c.mu.Lock()
	sc.events = c.board.claim(f, found)
	c.board.walked(next, more)
	c.mu.Unlock()
	return nil
}

// stall gives back what was claimed after the store failed. The wheel tries
// again. The caller answers the pings.
func (c *conn) stall(f *flight, sc *scratch, walk scan, err error) (pings int) {
	c.s.log.Warn("cannot read what is pending", "err", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.board.scan.reading = false
	for _, uaid := range sc.uaids {
		if e := c.board.entry(uaid); e != nil {
			e.marks |= again
		}
	}
	c.board.launch(f, sc.uaids, nil, nil)
	if c.badge != nil {
		for uaid, e := range c.board.many {
			if e.flight == f {
				c.board.release(uaid, e)
			}
		}
		if walk.on {
			c.board.rescan()
		}
	}
	c.stalled, c.flushing = true, false
	pings, c.pings = c.pings, 0
	return pings
}
