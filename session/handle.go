package session

import (
	"context"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

const (
	// maxFaults is how many malformed messages a connection may send.
	maxFaults = 8
	// relayWorkers is how many messages of one relay are worked on at once,
	// so that their commits share a sync.
	relayWorkers = 64
	// workTime bounds what one message may take, such as a registration that
	// a relay passes up.
	workTime = 30 * time.Second
)

// handle does what one message asks, in order; only a relay's hellos and
// registrations are worked on beside what follows them. It reports whether that
// took a deep stack.
func (c *conn) handle(in *inbox) (deep bool) {
	m := &in.m
	if err := wire.Decode(in.b, m); err != nil {
		c.fault(err, m.Type)
		return true
	}
	c.s.m.message(m.Type)
	if m.Type != wire.TypePing {
		c.stir()
	}
	if m.Type == wire.TypeAck {
		c.onAck(m)
		return false
	}
	if !c.allow() {
		return true
	}
	switch m.Type {
	case wire.TypeHello:
		c.onHello(m)
	case wire.TypeRegister, wire.TypeUnregister, wire.TypeKick:
		c.onRegistration(m, len(in.b))
	case wire.TypeRefuse:
		c.onRefuse(m)
	case wire.TypeWoken:
		c.onWoken(m)
	case wire.TypePing:
		if !c.pongLater() {
			c.pong(1)
		}
		return false
	default:
		c.s.m.refuse(reasonType)
		c.refuse(fmt.Errorf("%w: no such message type", edition.ErrMalformed), short(m.Type))
	}
	return true
}

// fault answers a malformed message, and ends a connection that sends many.
func (c *conn) fault(err error, of string) {
	c.s.m.refuse(reasonMalformed)
	if !c.allow() {
		return
	}
	c.refuse(err, short(of))
	if c.faults++; c.faults >= maxFaults {
		c.endNow(websocket.ClosePolicyViolation, "too many malformed messages", reasonMalformed)
	}
}

// short keeps a peer's own words within bounds.
func short(s string) string {
	if len(s) > 32 {
		return ""
	}
	return s
}

// allow takes a message off what a device may send, and ends the connection
// that sends more.
func (c *conn) allow() bool {
	l := &c.s.limits
	if c.badge != nil || l.Rate < 0 || c.rate.take(c.s.clock(), l.Rate, l.Burst) {
		return true
	}
	err := fmt.Errorf("%w: more than %g messages a second after a burst of %d", edition.ErrTooMany, l.Rate, l.Burst)
	c.s.m.refuse(reasonRate)
	c.refuse(err, "")
	c.endNow(websocket.ClosePolicyViolation, err.Error(), reasonRate)
	return false
}

// work runs a message's work: for a device in order, for a relay beside what
// follows, as far as its workers reach. The function may not use what the
// message was read into.
func (c *conn) work(do func(ctx context.Context)) {
	if c.badge == nil {
		do(c.s.patience.From(time.Now()))
		return
	}
	c.workers <- struct{}{}
	c.s.conns.Go(func() { // nobody waits for it yet: the goroutine in serve, which calls this, lives
		defer func() {
			<-c.workers
			if fault := recover(); fault != nil {
				c.s.panicked(fault, "session.conn.work")
				c.end(websocket.CloseInternalServerErr, "a fault of the server", reasonPanic)
			}
		}()
		do(c.s.patience.From(time.Now()))
	})
}

// onAck applies an ack in each of its forms.
func (c *conn) onAck(m *wire.Message) {
	state, err := c.ackState(m.State)
	if err == nil && m.Updates == nil && m.UAIDs == nil && m.ID == 0 {
		err = fmt.Errorf("%w: an ack names updates, an id, or uaids", edition.ErrMalformed)
	}
	if err != nil {
		c.fault(err, wire.TypeAck)
		return
	}
	owner, u := c.named(m)
	if len(u) == 0 {
		c.allow()
		return
	}
	c.apply(owner, u, state, wire.TypeAck)
}

// onRefuse notes what a relay does not know.
func (c *conn) onRefuse(m *wire.Message) {
	if c.badge == nil {
		c.refuse(fmt.Errorf("%w: only a relay refuses updates", edition.ErrForbidden), wire.TypeRefuse)
		return
	}
	m.ID, m.UAIDs = 0, nil
	if owner, u := c.named(m); len(u) > 0 {
		c.s.m.refuseN(reasonUnknown, len(u))
		c.apply(owner, u, edition.AckRefused, wire.TypeRefuse)
	}
}

// apply passes a report on and looks again at what it sets free.
func (c *conn) apply(owner edition.Owner, u edition.Update, state edition.AckState, of string) {
	if err := c.report(owner, u, state); err != nil {
		c.refuse(err, of)
		return
	}
	landed, flush := c.landed(u)
	if landed == 0 && !c.allow() {
		return
	}
	if flush {
		c.flushAlone(false)
	}
}

// report applies an ack. What is still on its way from a store that the relay
// has lost says nothing about the one that it has.
func (c *conn) report(owner edition.Owner, u edition.Update, state edition.AckState) error {
	if state == edition.AckDelivered {
		return c.s.hub.Ack(owner, u, state)
	}
	return c.s.ownReport(c.self, c.store, owner, u, state)
}

func (s *Server) ownReport(p *peer, store string, owner edition.Owner, u edition.Update, state edition.AckState) error {
	stale, err := p.report(store, func() error { return s.hub.Ack(owner, u, state) })
	if stale {
		s.m.refuseN(reasonStale, len(u))
	}
	return err
}

// landed notes an ack. flush is true when the caller is to send what it has set
// free.
func (c *conn) landed(u edition.Update) (n int, flush bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = c.board.land(u)
	return n, c.flushHere()
}

// named returns the events that an ack names, and of those only what may be
// acknowledged here: the store checks that they were sent.
func (c *conn) named(m *wire.Message) (edition.Owner, edition.Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := edition.Update(m.Updates)
	if len(u) == 0 {
		u = c.board.inFlight(u, m.ID, m.UAIDs)
		if len(u) == 0 && (m.ID != 0 || m.UAIDs != nil) {
			c.s.m.refuse(reasonNoFlight)
		}
		return c.owner, u
	}
	if c.badge != nil {
		if c.owner == edition.Direct {
			return c.owner, nil // no hello, nothing was sent
		}
		return c.owner, u
	}
	own := u[:0]
	for _, ev := range u {
		if c.board.holds(ev.UAID) {
			own = append(own, ev)
		}
	}
	if n := len(u) - len(own); n > 0 {
		c.s.m.refuseN(reasonForeign, n)
	}
	if c.mapped {
		own = c.board.unmap(own)
	}
	return c.owner, own
}

func (c *conn) ackState(state string) (edition.AckState, error) {
	if c.badge == nil {
		return ackState(state, nil)
	}
	return ackState(state, c.self)
}

// ackState reads the state of an ack; p is the relay that reports, nil for a
// device.
func ackState(state string, p *peer) (edition.AckState, error) {
	switch {
	case state == "" || state == wire.AckDelivered:
		return edition.AckDelivered, nil
	case state != wire.AckStored:
		return 0, fmt.Errorf(`%w: state %.20q of an ack is neither "stored" nor "delivered"`, edition.ErrMalformed, state)
	case p == nil:
		return 0, fmt.Errorf("%w: only a relay reports stored", edition.ErrForbidden)
	case p.granted() == wire.CustodyRelay:
		return edition.AckReleased, nil
	}
	return edition.AckStored, nil
}
