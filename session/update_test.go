package session

import (
	"fmt"
	"slices"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func TestUpdateAndAckForms(t *testing.T) {
	for _, tt := range []struct {
		name string
		ack  func(v device, id uint64) any
	}{
		{"versions", func(v device, _ uint64) any { return string(wire.AppendAck(nil, false, edition.Update{event(v, 7)})) }},
		{"spaced", func(v device, _ uint64) any {
			return fmt.Sprintf(`{"updates": {%q: {%q: 7}}, "type": "ack", "state": "delivered"}`, v.UAID, v.AppID)
		}},
		{"id", func(_ device, id uint64) any { return wire.Message{Type: wire.TypeAck, ID: id} }},
		{"id and uaids", func(v device, id uint64) any {
			return wire.Message{Type: wire.TypeAck, ID: id, UAIDs: []edition.UAID{v.UAID}}
		}},
		{"uaids", func(v device, _ uint64) any {
			return wire.Message{Type: wire.TypeAck, UAIDs: []edition.UAID{v.UAID}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := open(t, nil)
			v := d.registered(edition.Direct)
			c := d.connect()
			c.hello(v)
			d.deliver(v.Key, 7)
			m := c.update(v.Key, 7)
			if m.ID != 1 {
				t.Errorf("the first UPDATE has id %d, want 1", m.ID)
			}
			c.say(tt.ack(v, m.ID))
			c.barrier()
			d.wantState(v.Key, edition.StateDelivered)
			// The ack set the UAID free: the next version flies.
			d.deliver(v.Key, 8)
			if m := c.update(v.Key, 8); m.ID != 2 {
				t.Errorf("the second UPDATE has id %d, want 2", m.ID)
			}
		})
	}
}

func TestPendingFollowsHello(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	d.deliver(v.Key, 1)
	d.deliver(v.Key, 5)
	c := d.connect()
	c.hello(v) // fails when the UPDATE comes first
	c.update(v.Key, 5)
}

// The version that comes while an ack travels is not lost, in any form of ack.
func TestAckOfTheFirstAfterTheSecondPut(t *testing.T) {
	for _, form := range []string{"versions", "id", "uaids"} {
		t.Run(form, func(t *testing.T) {
			d := open(t, nil)
			v := d.registered(edition.Direct)
			c := d.connect()
			c.hello(v)
			d.deliver(v.Key, 1)
			m := c.update(v.Key, 1)
			d.deliver(v.Key, 2)
			c.barrier() // one UPDATE in flight: the second waits
			switch form {
			case "versions":
				c.ack(event(v, 1))
			case "id":
				c.say(wire.Message{Type: wire.TypeAck, ID: m.ID})
			case "uaids":
				c.say(wire.Message{Type: wire.TypeAck, UAIDs: []edition.UAID{v.UAID}})
			}
			c.update(v.Key, 2)
			d.wantState(v.Key, edition.StatePending)
		})
	}
}

func TestAckThatClearsNothing(t *testing.T) {
	d := open(t, nil)
	v, foreign := d.registered(edition.Direct), d.registered(edition.Direct)
	other := d.connect()
	other.hello(foreign)
	c := d.connect()
	c.hello(v)
	d.deliver(v.Key, 3)
	c.update(v.Key, 3)
	d.deliver(foreign.Key, 3)
	other.update(foreign.Key, 3)

	for name, ack := range map[string]any{
		"above what was sent": string(wire.AppendAck(nil, false, edition.Update{event(v, 4)})),
		"a foreign UAID":      string(wire.AppendAck(nil, false, edition.Update{event(foreign, 3)})),
		"foreign, bare":       wire.Message{Type: wire.TypeAck, UAIDs: []edition.UAID{foreign.UAID}},
		"below":               string(wire.AppendAck(nil, false, edition.Update{event(v, 2)})),
		"an id to come":       wire.Message{Type: wire.TypeAck, ID: 2},
		"the id, others":      wire.Message{Type: wire.TypeAck, ID: 1, UAIDs: []edition.UAID{foreign.UAID}},
		"nothing":             `{"type":"ack","updates":{}}`,
		"no uaids":            `{"type":"ack","uaids":[]}`,
	} {
		c.say(ack)
		c.barrier()
		if d.state(v.Key) != edition.StatePending || d.state(foreign.Key) != edition.StatePending {
			t.Fatalf("an ack of %s cleared something", name)
		}
	}
	for range 3 { // repeated
		c.ack(event(v, 3))
		c.barrier()
		d.wantState(v.Key, edition.StateDelivered)
	}
	d.wantState(foreign.Key, edition.StatePending)
}

func TestPartialAckKeepsTheRestInFlight(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	w := device{Key: edition.Key{UAID: v.UAID, AppID: edition.NewAppID()}, secret: v.secret}
	d.register(w, edition.Direct)
	both := edition.Update{event(v, 1), event(w, 1)}.Normalize()
	d.deliver(v.Key, 1)
	d.deliver(w.Key, 1)
	c := d.connect()
	c.hello(v)
	if m := c.hear(wire.TypeUpdate); !slices.Equal(edition.Update(m.Updates), both) {
		t.Fatalf("update %v, want %v", m.Updates, both)
	}
	c.ack(event(v, 1))
	d.deliver(v.Key, 2)
	c.barrier() // nothing: the UAID is still in flight
	d.wantState(w.Key, edition.StatePending)
	c.ack(event(w, 1))
	c.update(v.Key, 2)
}

// A device's connection with many UAIDs: everything comes, bounded, grouped,
// and never twice for one UAID before its ack.
func TestManyUAIDs(t *testing.T) {
	d := open(t, nil)
	const n, apps = 500, 3
	claims := make([]device, n)
	want := map[edition.Key]bool{}
	for i := range claims {
		claims[i] = d.registered(edition.Direct)
		for range apps {
			w := claims[i]
			w.AppID = edition.NewAppID()
			d.register(w, edition.Direct)
			d.deliver(w.Key, 9)
			want[w.Key] = true
		}
	}
	c := d.connect()
	for _, part := range [][]device{claims[:1], claims[:250], claims[250:]} {
		m := wire.Message{Type: wire.TypeHello}
		for _, v := range part {
			m.Agents = append(m.Agents, v.claim())
		}
		c.say(m)
	}
	for hellos := 0; len(want) > 0 || hellos < 3; {
		m := <-c.in
		if m.Type == wire.TypeHello {
			hellos++
			continue
		}
		if len(m.Updates) > wire.MaxUpdate {
			t.Fatal("too many events:", len(m.Updates))
		}
		for _, e := range m.Updates {
			if !want[e.Key] || e.Version != 9 {
				t.Fatal("unexpected", e)
			}
			delete(want, e.Key)
		}
		c.ack(m.Updates...)
	}
	c.barrier()
	d.deliver(claims[7].Key, 1)
	c.update(claims[7].Key, 1)
}

// An update that does not fit into one message comes in several.
func TestUpdateIsBounded(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	const apps = 2500
	for i := range apps {
		w := v
		if i > 0 {
			w.AppID = edition.NewAppID()
			d.register(w, edition.Direct)
		}
		d.deliver(w.Key, edition.MaxVersion)
	}
	c := d.connect()
	c.hello(v)
	for got, ids := 0, 0; got < apps; ids++ {
		m := c.hear(wire.TypeUpdate)
		if size := len(wire.AppendUpdate(nil, m.ID, edition.Update(m.Updates))); size > wire.MaxMessage || len(m.Updates) > wire.MaxUpdate {
			t.Fatalf("an UPDATE of %d events, %d bytes", len(m.Updates), size)
		}
		got += len(m.Updates)
		c.ack(m.Updates...)
		if ids > 5 {
			t.Fatal("too many UPDATEs")
		}
	}
	c.barrier()
}

func TestReplacedByNewerConnection(t *testing.T) {
	d := open(t, nil)
	v, w := d.registered(edition.Direct), d.registered(edition.Direct)
	old := d.connect()
	old.hello(v, w)
	between := d.connect()
	between.hello(w) // old keeps v
	d.deliver(w.Key, 1)
	between.update(w.Key, 1)
	old.barrier()
	d.deliver(v.Key, 1)
	old.update(v.Key, 1)

	newer := d.connect()
	newer.hello(v)
	newer.update(v.Key, 1) // in flight on the old one, sent again here
	old.wantClosed(wire.CloseReplaced, "newer")
	newer.ack(event(v, 1))
	newer.barrier()
	d.wantState(v.Key, edition.StateDelivered)
	between.barrier()
}
