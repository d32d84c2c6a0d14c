package relay

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// took has a device take and ack a version at the relay.
func (g *rig) took(t *testing.T, e edition.Event) {
	t.Helper()
	u := edition.Update{e}
	g.deliver(u, edition.Delivery{})
	if err := g.store.Sent(edition.Direct, u); err != nil {
		t.Fatal(err)
	}
	if _, err := g.store.Ack(edition.Direct, u, edition.AckDelivered); err != nil {
		t.Fatal(err)
	}
}

// acknowledge is took, as the hub tells of it.
func (g *rig) acknowledge(t *testing.T, e edition.Event) {
	t.Helper()
	g.took(t, e)
	g.Delivered()
}

func (g *rig) reports(t *testing.T, upstream string) int {
	t.Helper()
	u, err := g.store.Reports(nil, upstream, edition.Key{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return len(u)
}

// TestReports passes up what devices have acknowledged, each to its own
// upstream, and forgets it when upstream has processed it.
func TestReports(t *testing.T) {
	a, b := newFake(t), newFake(t)
	g := newRig(t, nil, a, b)
	first, second := newDevice(t), newDevice(t)
	g.register(t, first)
	r := second.registration()
	r.Upstream = "up1"
	if _, err := g.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for v := edition.Version(1); v < 50; v++ {
		g.acknowledge(t, first.event(v))
	}
	g.acknowledge(t, second.event(3))
	eventually(t, "reported", func() bool { return g.reports(t, "up0")+g.reports(t, "up1") == 0 })
	last := wire.Updates(nil)
	for len(a.seen) > 0 {
		if m := <-a.seen; m.Type == wire.TypeAck {
			last = m.Updates
		}
	}
	if len(last) != 1 || last[0] != first.event(49) {
		t.Errorf("the last report is %v", last)
	}
	if m := b.await(t, wire.TypeAck); len(m.Updates) != 1 || m.Updates[0] != second.event(3) {
		t.Errorf("to the other upstream: %+v", m)
	}
}

// TestReportsWaitForUpstream has upstream take the acks and die before the
// pong: after reconnecting they are reported again, from the first.
func TestReportsWaitForUpstream(t *testing.T) {
	up := newFake(t)
	up.mute.Store(true)
	g := newRig(t, nil, up)
	d := newDevice(t)
	g.register(t, d)
	g.acknowledge(t, d.event(3))
	up.await(t, wire.TypePing)
	if n := g.reports(t, "up0"); n != 1 {
		t.Errorf("%d reports before the pong, want 1", n)
	}
	up.mute.Store(false)
	up.cut()
	up.await(t, wire.TypeHello)
	if m := up.await(t, wire.TypeAck); len(m.Updates) != 1 || m.Updates[0] != d.event(3) {
		t.Errorf("after reconnecting: %+v", m)
	}
	eventually(t, "reported", func() bool { return g.reports(t, "up0") == 0 })
}

// TestReportsGather has many acks while one report is on its way: they go up
// together, not one by one.
func TestReportsGather(t *testing.T) {
	up := newFake(t)
	up.mute.Store(true)
	g := newRig(t, nil, up)
	first := newDevice(t)
	g.register(t, first)
	const n = 5000
	devices := make([]device, n)
	for i := range devices {
		devices[i] = newDevice(t)
		r := devices[i].registration()
		r.Upstream = "up0"
		if err := g.store.Register(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	g.acknowledge(t, first.event(1))
	up.await(t, wire.TypePing)
	for _, d := range devices {
		g.took(t, d.event(1))
	}
	g.Delivered()
	up.mute.Store(false)
	up.write([]byte(`{"type":"pong"}`))
	eventually(t, "reported", func() bool { return g.reports(t, "up0") == 0 })
	pings, events := 0, 0
	for len(up.seen) > 0 {
		switch m := <-up.seen; m.Type {
		case wire.TypePing:
			pings++
		case wire.TypeAck:
			events += len(m.Updates)
		}
	}
	if events != n || pings != (n+reportChunk-1)/reportChunk {
		t.Errorf("%d events reported with %d barriers", events, pings)
	}
}

// TestReconnectIsANameOnly says that reconnecting costs the same for a relay
// with many devices as for one with few.
func TestReconnectIsANameOnly(t *testing.T) {
	bytes := func(devices int) int {
		up := newFake(t)
		g := newRig(t, nil, up)
		for range devices {
			r := newDevice(t).registration()
			r.Upstream = "up0"
			if err := g.store.Register(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		up.await(t, wire.TypeKick)
		before := len(up.said())
		up.cut()
		up.await(t, wire.TypeKick)
		return len(up.said()) - before
	}
	if few, many := bytes(1), bytes(3000); few != many {
		t.Errorf("%d bytes with one device, %d with 3,000", few, many)
	}
}

// TestHello says who the relay is, how it can be woken, and that no secret of a
// device or way to wake it goes up.
func TestHello(t *testing.T) {
	up := newFake(t)
	g := newRig(t, nil, up)
	if m := up.await(t, wire.TypeHello); m.Relay != "north" || m.Store != g.store.ID() || len(m.Agents) != 0 {
		t.Errorf("hello %+v", m)
	}
	if m := up.await(t, wire.TypeKick); m.UAID != nil || string(m.Kick) != `{"ip":"10.0.0.1"}` {
		t.Errorf("kick %+v", m)
	}
	d := newDevice(t)
	r := d.registration()
	r.Routes = edition.Routes{{Driver: "udp", Target: []byte(`"sesame"`)}}
	if _, err := g.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	proof, _ := d.proof.MarshalText()
	said := up.said()
	if strings.Contains(said, d.secret) || strings.Contains(said, "sesame") || !strings.Contains(said, string(proof)) {
		t.Errorf("up went %s", said)
	}
	if routes, err := g.store.Routes(edition.Holder{UAID: d.uaid}); err != nil || len(routes) != 1 || routes[0].Driver != "udp" {
		t.Errorf("routes %+v %v", routes, err)
	}
	if s := fmt.Sprintf("%+v", g.Upstreams()); !strings.Contains(s, "up0") || !strings.Contains(s, "Connected:true") {
		t.Error(s)
	}
}
