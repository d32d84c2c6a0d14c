package session

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// enter says a relay's hello, and wants the custody.
func (c *peerConn) enter(m wire.Message, custody string) {
	c.t.Helper()
	m.Type = wire.TypeHello
	c.say(m)
	if got := c.hear(wire.TypeHello); got.Status != 200 || got.Custody != custody || got.UAIDs == nil || got.Refused == nil {
		c.t.Fatalf("hello: %+v", got)
	}
}

func (d *door) asRelay(name, token, custody string) *peerConn {
	d.t.Helper()
	c := d.connect(token)
	c.enter(wire.Message{Relay: name, Store: "store-of-" + name}, custody)
	d.settled() // what follows does not meet the walk over what waits for it
	return c
}

// report says stored, or delivered, or refuse.
func (c *peerConn) report(what string, u ...edition.Event) {
	c.t.Helper()
	m := wire.Message{Type: wire.TypeAck, State: what, Updates: u}
	if what == wire.TypeRefuse {
		m.Type, m.State = what, ""
	}
	c.say(m)
}

func TestRelayHello(t *testing.T) {
	d := open(t, nil)
	for _, tt := range []struct{ token, ask, custody string }{
		{relayToken, "", wire.CustodyDevice},
		{relayToken, wire.CustodyRelay, wire.CustodyRelay},
		{otherToken, "", wire.CustodyRelay},
		{otherToken, wire.CustodyDevice, wire.CustodyDevice},
	} {
		name := "r1"
		if tt.token == otherToken {
			name = "r2"
		}
		c := d.connect(tt.token)
		c.enter(wire.Message{Relay: name, Custody: tt.ask}, tt.custody)
	}
	c := d.connect(relayToken)
	c.say(`{"type":"hello","relay":"r2"}`)
	c.wantError(403, wire.TypeHello, "not authenticated")
	c.say(`{"type":"hello","relay":"r1","custody":"mine"}`)
	c.wantError(400, wire.TypeHello, "neither")
	v := newDevice()
	for _, m := range []wire.Message{
		{Type: wire.TypeHello, Agents: []wire.Agent{v.behind()}},
		{Type: wire.TypeHello},
		{Type: wire.TypeRegister, UAID: &v.UAID, AppID: &v.AppID, Secret: v.secret},
	} {
		c.say(m)
		c.wantError(409, m.Type, "first says its name")
	}
	c.barrier()
}

func TestRelayCustody(t *testing.T) {
	for _, tt := range []struct {
		custody       string
		stored, after string
	}{
		{wire.CustodyDevice, edition.StatePending, edition.StateDelivered},
		{wire.CustodyRelay, edition.StateNone, edition.StateDelivered},
	} {
		t.Run(tt.custody, func(t *testing.T) {
			d := open(t, nil)
			n := d.relay("r1")
			v := d.registered(n)
			c := d.connect(relayToken)
			c.enter(wire.Message{Relay: "r1", Store: "store-of-r1", Custody: tt.custody}, tt.custody)
			d.deliver(v.Key, 7)
			c.update(v.Key, 7)
			c.report(wire.AckStored, event(v, 7))
			c.barrier()
			if s, err := d.store.State(v.Key); err != nil || s.State != tt.stored && !s.Relayed {
				t.Errorf("after stored: %+v, %v", s, err)
			}
			c.report(wire.AckDelivered, event(v, 7))
			c.barrier()
			d.wantState(v.Key, tt.after)
			d.deliver(v.Key, 8)
			c.update(v.Key, 8)
		})
	}
}

// What a relay has stored is not sent again, until it has lost its store.
func TestRelayReconnects(t *testing.T) {
	d := open(t, nil)
	n := d.relay("r1")
	stored, refused, open := d.registered(n), d.registered(n), d.registered(n)
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	for _, v := range []device{stored, refused, open} {
		d.deliver(v.Key, 1)
		c.update(v.Key, 1)
	}
	c.report(wire.AckStored, event(stored, 1))
	c.report(wire.TypeRefuse, event(refused, 1))
	c.barrier()
	c.ws.Close()

	c = d.asRelay("r1", relayToken, wire.CustodyDevice)
	c.update(open.Key, 1)
	c.barrier()
	// The refused device shows up there.
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{refused.behind()}})
	if m := c.hear(wire.TypeHello); !slices.Equal(m.UAIDs, []edition.UAID{refused.UAID}) {
		t.Errorf("%+v", m)
	}
	c.update(refused.Key, 1)

	c = d.connect(relayToken)
	c.enter(wire.Message{Relay: "r1", Store: "another"}, wire.CustodyDevice)
	m := c.hear(wire.TypeUpdate)
	if len(m.Updates) != 3 {
		t.Errorf("after the loss of its store: %v", m.Updates)
	}
}

func TestRelayWindow(t *testing.T) {
	d := open(t, func(o *Options) { o.Limits.Window = 3 })
	n := d.relay("r1")
	var all []device
	for range 5 {
		all = append(all, d.registered(n))
	}
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	for _, v := range all[:3] {
		d.deliver(v.Key, 1)
		c.update(v.Key, 1)
	}
	d.deliver(all[3].Key, 1)
	d.deliver(all[0].Key, 2)
	c.barrier() // full
	c.report(wire.AckStored, event(all[1], 1))
	m := c.update(all[3].Key, 1) // not all[0]: that is in flight
	c.say(wire.Message{Type: wire.TypeAck, ID: m.ID, State: wire.AckStored})
	c.barrier()
	c.report(wire.AckDelivered, event(all[0], 1))
	c.update(all[0].Key, 2)
}

// Everything that waits for a relay reaches it, while more comes.
func TestRelayDrain(t *testing.T) {
	d := open(t, nil)
	n := d.relay("r1")
	want := map[edition.Key]edition.Version{}
	var all []device
	for range 9000 {
		v := d.registered(n)
		d.deliver(v.Key, 1)
		all, want[v.Key] = append(all, v), 1
	}
	for range 1500 { // more apps on one device than an update holds
		v := device{Key: edition.Key{UAID: all[0].UAID, AppID: edition.NewAppID()}, secret: all[0].secret}
		d.register(v, n)
		d.deliver(v.Key, 1)
		want[v.Key] = 1
	}
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	go func() {
		for _, v := range all[:3000] {
			d.hub.Deliver(edition.Update{event(v, 2)}, edition.Delivery{})
		}
	}()
	for _, v := range all[:3000] {
		want[v.Key] = 2
	}
	for left := len(want); left > 0; {
		m := c.hear(wire.TypeUpdate)
		for _, e := range m.Updates {
			if want[e.Key] == e.Version {
				want[e.Key] = 0
				left--
			}
		}
		c.report(wire.AckStored, m.Updates...)
	}
	c.barrier()
}

func TestRelayRegistersDevices(t *testing.T) {
	d := open(t, nil)
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	n := d.relay("r1")
	v := newDevice()
	proof := v.proof()
	c.say(wire.Message{Type: wire.TypeRegister, UAID: &v.UAID, AppID: &v.AppID, Proof: &proof})
	if m := c.hear(wire.TypeRegister); m.Status != 201 || m.Endpoint == "" {
		t.Fatalf("%+v", m)
	}
	if a, err := d.store.Agent(v.UAID); err != nil || a.Owner != n {
		t.Errorf("bound to %d (%v), want %d", a.Owner, err, n)
	}
	d.deliver(v.Key, 1)
	c.update(v.Key, 1)

	// Its route stays with it; a kick for itself is taken.
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Kick: json.RawMessage(`{"driver":"udp"}`)})
	c.wantError(403, wire.TypeKick, "stays with a relay")
	c.say(wire.Message{Type: wire.TypeKick, Kick: json.RawMessage(`{"driver":"pager"}`)})
	c.wantError(403, wire.TypeKick, "no driver")
	c.say(wire.Message{Type: wire.TypeKick, Kick: json.RawMessage(`{"driver":"udp"}`)})
	if m := c.hear(wire.TypeKick); m.Status != 200 {
		t.Errorf("%+v", m)
	}
	if d.routes(edition.Holder{Owner: n}) != "udp" {
		t.Error("the relay has no route")
	}

	// A wrong proof is refused; what is bound here needs none.
	wrong := newDevice().proof()
	c.say(wire.Message{Type: wire.TypeUnregister, UAID: &v.UAID, AppID: &v.AppID, Proof: &wrong})
	c.wantError(401, wire.TypeUnregister, "")
	c.say(wire.Message{Type: wire.TypeUnregister, UAID: &v.UAID, AppID: &v.AppID})
	c.hear(wire.TypeUnregister)
	direct := d.registered(edition.Direct)
	c.say(wire.Message{Type: wire.TypeUnregister, UAID: &direct.UAID, AppID: &direct.AppID})
	c.wantError(401, wire.TypeUnregister, "")
}

// A device roams: from here behind a relay, to another relay, and back.
func TestRoaming(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	direct := d.connect()
	direct.hello(v)
	d.deliver(v.Key, 1)
	direct.update(v.Key, 1)

	r1 := d.asRelay("r1", relayToken, wire.CustodyDevice)
	r1.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.behind(), newDevice().behind()}})
	if m := r1.hear(wire.TypeHello); len(m.UAIDs) != 1 || len(m.Refused) != 1 {
		t.Fatalf("%+v", m)
	}
	r1.update(v.Key, 1)
	direct.wantClosed(wire.CloseReplaced, "")
	r1.report(wire.AckStored, event(v, 1))
	r1.barrier()

	r2 := d.asRelay("r2", otherToken, wire.CustodyRelay)
	proof := v.proof()
	r2.say(wire.Message{Type: wire.TypeRegister, UAID: &v.UAID, AppID: &v.AppID, Proof: &proof})
	for range 2 { // in either order
		if m := <-r2.in; m.Type == wire.TypeUpdate && m.Updates[0] != event(v, 1) || m.Status != 0 && m.Status != 201 {
			t.Fatalf("%+v", m)
		}
	}
	// The relay it left can no longer acknowledge for it.
	r1.report(wire.AckDelivered, event(v, 1))
	r1.barrier()
	d.wantState(v.Key, edition.StatePending)

	direct = d.connect()
	direct.hello(v)
	direct.update(v.Key, 1)
	direct.ack(event(v, 1))
	direct.barrier()
	d.wantState(v.Key, edition.StateDelivered)
}

func TestNewerRelayConnectionWins(t *testing.T) {
	d := open(t, nil)
	v := d.registered(d.relay("r1"))
	old := d.asRelay("r1", relayToken, wire.CustodyDevice)
	newer := d.asRelay("r1", relayToken, wire.CustodyDevice)
	old.wantClosed(wire.CloseReplaced, "")
	d.deliver(v.Key, 1)
	newer.update(v.Key, 1)
}

// The pong for a ping follows everything that was acknowledged before it.
func TestBarrier(t *testing.T) {
	d := open(t, nil)
	n := d.relay("r1")
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	var u edition.Update
	for range 500 {
		v := d.registered(n)
		d.deliver(v.Key, 1)
		u = append(u, event(v, 1))
	}
	for got := 0; got < len(u); {
		m := c.hear(wire.TypeUpdate)
		got += len(m.Updates)
		c.report(wire.AckStored, m.Updates...)
	}
	for _, e := range u {
		c.report(wire.AckDelivered, e)
	}
	c.barrier()
	for _, e := range u {
		d.wantState(e.Key, edition.StateDelivered)
	}
}

// More devices are rung than a relay's session remembers: all are found again.
func TestRelayOverflow(t *testing.T) {
	b := newBoard(true)
	for range maxDirty + 10 {
		b.ring(edition.NewUAID())
	}
	if len(b.many) != maxDirty || !b.scan.on {
		t.Error(fmt.Sprint(len(b.many), b.scan))
	}
}

// TestSharedToken: relays that share a token are told by the name that they
// say, over both transports, and one connection is one relay's.
func TestSharedToken(t *testing.T) {
	d := open(t, func(o *Options) {
		o.Relays = []Relay{{Name: "r1", Tokens: []string{relayToken}}, {Name: "r2", Tokens: []string{relayToken}, Custody: wire.CustodyRelay}, {Name: "r3", Tokens: []string{otherToken}}}
	})
	first, second := d.asRelay("r1", relayToken, wire.CustodyDevice), d.asRelay("r2", relayToken, wire.CustodyRelay)
	second.say(`{"type":"hello","relay":"r1"}`)
	second.wantError(409, wire.TypeHello, "r2")
	second.say(`{"type":"hello","relay":"r3"}`)
	second.wantError(403, wire.TypeHello, "not authenticated")

	v := newDevice()
	proof := v.proof()
	status, body := d.post(wire.PathRegister, wire.RegisterRequest{Relay: "r2", UAID: &v.UAID, AppID: &v.AppID, Proof: &proof}, relayToken)
	if status != 201 {
		t.Fatalf("register: %d %s", status, body)
	}
	d.deliver(v.Key, 5)
	second.update(v.Key, 5)
	second.report(wire.AckStored, edition.Event{Key: v.Key, Version: 5}) // its custody: relay, so it is forgotten
	second.barrier()
	d.wantState(v.Key, "none")
	first.barrier()
}

// What a relay reports of a store that it has lost meanwhile counts for nothing:
// its new store does not have the event.
func TestReportsOfALostStore(t *testing.T) {
	d := open(t, nil)
	poll := func(store string) string {
		t.Helper()
		status, body := d.post(wire.PathUpdate, wire.UpdateRequest{Relay: "r1", Store: store}, relayToken)
		if status != 200 && status != 204 {
			t.Fatal(status, body)
		}
		return body
	}
	poll("one")
	owner, err := d.store.Relay(t.Context(), "r1", "one")
	if err != nil {
		t.Fatal(err)
	}
	v := d.registered(owner)
	d.deliver(v.Key, 5)
	if body := poll("one"); !strings.Contains(body, v.UAID.String()) {
		t.Fatal("no update:", body)
	}
	if body := poll("two"); !strings.Contains(body, v.UAID.String()) {
		t.Fatal("no update:", body)
	}
	u := wire.Updates{event(v, 5)}
	for _, late := range []wire.AckRequest{
		{Relay: "r1", Store: "one", State: wire.AckStored, Updates: u},
		{Relay: "r1", Store: "one", Refuse: u},
	} {
		if status, body := d.post(wire.PathAck, late, relayToken); status != 204 {
			t.Error(status, body)
		}
		if body := poll("two"); !strings.Contains(body, v.UAID.String()) {
			t.Error("the new store is not sent what the old one had:", body)
		}
	}
	// On a connection that has not noticed yet that it was replaced.
	if err := d.ownReport(d.roster.Load().members[0].peer, "one", owner, edition.Update(u), edition.AckStored); err != nil {
		t.Error(err)
	}
	if body := poll("two"); !strings.Contains(body, v.UAID.String()) {
		t.Error("the new store is not sent what the old one had:", body)
	}
	// The device has it all the same, whichever store says so.
	if status, body := d.post(wire.PathAck, wire.AckRequest{Relay: "r1", Store: "one", Updates: u}, relayToken); status != 204 {
		t.Error(status, body)
	}
	d.wantState(v.Key, edition.StateDelivered)
}

// A relay that is above this place cannot be below it.
// TestRefusedBeforeTheDeviceShowedUp: what a relay refused because it did not
// know the device comes again when the device has shown up there meanwhile.
func TestRefusedBeforeTheDeviceShowedUp(t *testing.T) {
	d := open(t, nil)
	n := d.relay("r1")
	v := d.registered(n)
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	d.deliver(v.Key, 1)
	c.update(v.Key, 1)
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.behind()}})
	if m := c.hear(wire.TypeHello); len(m.UAIDs) != 1 {
		t.Fatalf("hello: %+v", m)
	}
	c.report(wire.TypeRefuse, event(v, 1))
	c.update(v.Key, 1)
	c.report(wire.TypeRefuse, event(v, 1)) // and this time it is of the device as it is
	c.barrier()
	if u, err := d.store.Pending(nil, n, v.UAID); err != nil || len(u) > 0 {
		t.Errorf("pending %v, %v", u, err)
	}
}

func TestLoopIsRefused(t *testing.T) {
	d := open(t, func(o *Options) { o.Way = func() []string { return []string{"here", "above"} } })
	for _, store := range []string{"here", "above"} {
		c := d.connect(relayToken)
		c.say(wire.Message{Type: wire.TypeHello, Relay: "r1", Store: store})
		c.wantError(409, wire.TypeHello, "form a loop")
		if status, body := d.post(wire.PathUpdate, wire.UpdateRequest{Relay: "r1", Store: store}, relayToken); status != 409 {
			t.Error(status, body)
		}
	}
	c := d.connect(relayToken)
	c.say(wire.Message{Type: wire.TypeHello, Relay: "r1", Store: "below"})
	if m := c.hear(wire.TypeHello); !slices.Equal(m.Way, []string{"here", "above"}) {
		t.Errorf("%+v", m)
	}
	if !d.Below("below") || d.Below("here") || d.Below("") {
		t.Error("who is below is not known")
	}
	c.ws.Close()
	d.eventually("it is away", func() bool { return !d.Below("below") })
}

// A relay that tells late who has shown up behind it does not take a device away
// from where it has shown up since.
func TestPresentedTooLate(t *testing.T) { synctest.Test(t, testPresentedTooLate) }

func testPresentedTooLate(t *testing.T) {
	d := openInMemory(t, nil)
	far, near := d.relay("r2"), d.relay("r1")
	v := d.registered(far)
	d.deliver(v.Key, 5)
	c := d.asRelay("r1", relayToken, wire.CustodyDevice)
	tell := func(age int64) {
		t.Helper()
		claim := v.behind()
		claim.Age = age
		c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{claim}})
		if m := c.hear(wire.TypeHello); !slices.Equal(m.UAIDs, []edition.UAID{v.UAID}) {
			t.Errorf("%+v", m)
		}
	}
	owner := func() edition.Owner {
		a, err := d.store.Agent(v.UAID)
		if err != nil {
			t.Fatal(err)
		}
		return a.Owner
	}
	for _, age := range []int64{60_000, math.MaxInt64} {
		tell(age)
		c.barrier()
		if owner() != far || len(d.reg.present) != 0 {
			t.Errorf("told %d ms late the device was moved", age)
		}
	}
	time.Sleep(5 * time.Millisecond)
	tell(1) // it was elsewhere before that
	c.update(v.Key, 5)
	if owner() != near {
		t.Error("the device was not moved")
	}
	if p := d.reg.present; len(p) != 1 || time.Since(p[0].Seen) < time.Millisecond {
		t.Errorf("presented %+v", p)
	}
	tell(60_000) // it is here
	if p := d.reg.present; len(p) != 2 || time.Since(p[1].Seen) < time.Minute {
		t.Errorf("presented %+v", p)
	}
	c.ws.Close()
	d.close()
}
