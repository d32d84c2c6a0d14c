package session

import (
	"sync/atomic"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// TestPongBehindUpdate has an ack and a ping come while an UPDATE is being made
// of what was read before them: the pong follows it, so that the relay knows
// that nothing from before the ack comes any more.
func TestPongBehindUpdate(t *testing.T) {
	halt := &halt{reading: make(chan struct{}), goOn: make(chan struct{})}
	d := open(t, func(o *Options) { halt.Store = o.Store; o.Store = halt })
	v := d.registered(d.relay("r1"))
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	halt.armed.Store(true)
	d.deliver(v.Key, 1)
	<-halt.reading
	c.say(`{"type":"ping"}`)
	c.say(`{"type":"ping"}`)
	d.eventually("the pings wait", func() bool { return d.pings() == 2 })
	close(halt.goOn)
	if m := <-c.in; m.Type != wire.TypeUpdate {
		t.Errorf("first came %+v", m)
	}
	for range 2 {
		c.hear(wire.TypePong)
	}
	c.report(wire.AckStored, event(v, 1))
	c.barrier()
}

// halt is a store that stands still once when it is armed, between reading what
// is pending and telling.
type halt struct {
	edition.Store
	armed         atomic.Bool
	reading, goOn chan struct{}
}

func (h *halt) Pending(dst edition.Update, owner edition.Owner, uaid edition.UAID) (edition.Update, error) {
	dst, err := h.Store.Pending(dst, owner, uaid)
	if h.armed.CompareAndSwap(true, false) {
		close(h.reading)
		<-h.goOn
	}
	return dst, err
}

// pings is how many wait for a flush.
func (d *door) pings() (n int) {
	for i := range wheelSlots {
		for _, c := range d.wheel.in(nil, i) {
			c.mu.Lock()
			n += c.pings
			c.mu.Unlock()
		}
	}
	return n
}
