package relay

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// register registers a device at the relay.
func (g *rig) register(t *testing.T, d device) {
	t.Helper()
	if _, err := g.Register(t.Context(), d.registration()); err != nil {
		t.Fatal(err)
	}
}

// TestReceive has one UPDATE with a device of this upstream, one of another and
// a stranger, and one that was delivered before.
func TestReceive(t *testing.T) {
	a, b := newFake(t), newFake(t)
	g := newRig(t, nil, a, b)
	ours, theirs, stranger, old := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	g.register(t, ours)
	g.register(t, old)
	r := theirs.registration()
	r.Upstream = "up1"
	if _, err := g.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	g.took(t, old.event(7))

	other := ours // an app that registered through another relay
	other.app = edition.NewAppID()
	a.update(ours.event(5), other.event(6), theirs.event(5), stranger.event(5), old.event(7))
	var stored, delivered, refused wire.Message
	for refused.Type == "" { // the last
		switch m := a.await(t, wire.TypeAck, wire.TypeRefuse); {
		case m.Type == wire.TypeRefuse:
			refused = m
		case m.State == wire.AckStored:
			stored = m
		default: // or the report of what was delivered before, which says the same
			delivered = m
		}
	}
	if stored.State != wire.AckStored || len(stored.Updates) != 2 || stored.Updates[0].UAID != ours.uaid {
		t.Errorf("stored %+v", stored)
	}
	if delivered.State != "" || len(delivered.Updates) != 1 || delivered.Updates[0] != old.event(7) {
		t.Errorf("delivered %+v", delivered)
	}
	want := edition.Update{theirs.event(5), stranger.event(5)}.Normalize()
	if !slices.Equal(edition.Update(refused.Updates), want) {
		t.Errorf("refused %+v, want %+v", refused.Updates, want)
	}
	for result, n := range map[result]float64{resultStored: 2, resultDelivered: 1, resultForeign: 1, resultUnknown: 1} {
		if got := g.count(t, "edition_relay_events_total", "result", string(result)); got != n {
			t.Errorf("%v events %s, want %v", got, result, n)
		}
	}
	if u, _ := g.store.Pending(nil, edition.Direct, theirs.uaid); len(u) != 0 {
		t.Errorf("another upstream's device got %v", u)
	}
}

// TestNotKept has the store fail: nothing is acknowledged, and what upstream
// sends again is.
func TestNotKept(t *testing.T) {
	up := newFake(t)
	g := newRig(t, nil, up)
	d, e := newDevice(t), newDevice(t)
	g.register(t, d)
	g.register(t, e)
	g.store.Fail(edition.ErrUnavailable)
	up.update(d.event(5))
	eventually(t, "a failure counted", func() bool {
		return g.count(t, "edition_relay_events_total", "result", string(resultFailed)) == 1
	})
	g.store.Fail(nil)
	up.update(e.event(6))
	if m := up.await(t, wire.TypeAck); len(m.Updates) != 1 || m.Updates[0] != e.event(6) {
		t.Errorf("ack %+v", m)
	}
	up.update(d.event(5))
	if m := up.await(t, wire.TypeAck); m.State != wire.AckStored || m.Updates[0] != d.event(5) {
		t.Errorf("ack %+v", m)
	}
}

// TestConcurrent has the first UPDATE's commit hang: the second is kept and
// acknowledged meanwhile, and the first when its commit is through.
func TestConcurrent(t *testing.T) {
	up := newFake(t)
	var mu sync.Mutex
	receipts := make(map[edition.UAID]*edition.Receipt)
	slow, fast := newDevice(t), newDevice(t)
	got := make(chan struct{}, 2)
	g := newRig(t, func(u edition.Update, how edition.Delivery) *edition.Receipt {
		if !how.Adopt {
			t.Error("Deliver without Adopt")
		}
		r := edition.NewReceipt(len(u))
		mu.Lock()
		receipts[u[0].UAID] = r
		mu.Unlock()
		got <- struct{}{}
		return r
	}, up)
	g.register(t, slow)
	g.register(t, fast)
	up.update(slow.event(1))
	<-got
	up.update(fast.event(1))
	<-got
	for _, d := range []device{fast, slow} {
		mu.Lock()
		receipts[d.uaid].Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: 1})
		mu.Unlock()
		if m := up.await(t, wire.TypeAck); m.Updates[0].UAID != d.uaid {
			t.Errorf("ack %+v, want %v", m, d.uaid.Short())
		}
	}
}

// slowStore has Register wait, as a commit does.
type slowStore struct {
	*mem.Store
	entered, leave chan struct{}
}

func (s *slowStore) Register(ctx context.Context, r edition.Registration) error {
	s.entered <- struct{}{}
	<-s.leave
	return s.Store.Register(ctx, r)
}

// TestUpdateDuringRegistration has an UPDATE come between upstream's yes and
// our own store's: it is held, then kept; and others are not held with it.
func TestUpdateDuringRegistration(t *testing.T) {
	up := newFake(t)
	s := &slowStore{Store: mem.New(mem.Options{}), entered: make(chan struct{}), leave: make(chan struct{})}
	g := &rig{store: s.Store, reg: prometheus.NewRegistry()}
	g.start(t, s, nil, up)
	known, fresh := newDevice(t), newDevice(t)
	r := known.registration()
	r.Upstream = "up0"
	if err := s.Store.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	registered := make(chan error, 1)
	go func() {
		_, err := g.Register(t.Context(), fresh.registration())
		registered <- err
	}()
	<-s.entered // upstream has said yes
	up.update(known.event(1), fresh.event(1))
	if m := up.await(t, wire.TypeAck); len(m.Updates) != 1 || m.Updates[0] != known.event(1) {
		t.Errorf("ack %+v", m)
	}
	close(s.leave)
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	if m := up.await(t, wire.TypeAck); m.State != wire.AckStored || m.Updates[0] != fresh.event(1) {
		t.Errorf("ack %+v", m)
	}
}
