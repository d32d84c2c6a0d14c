package hub

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/edition-push/edition"
)

func TestDeliverRingsWhoIsConnected(t *testing.T) {
	f := newFixture(Options{})
	b := &fakeBell{}
	f.Attach(device(1), b)
	f.Deliver(edition.Update{event(1, 5)}, edition.Delivery{})
	if rings, _ := b.heard(); !slices.Equal(rings, []edition.UAID{uaid(1)}) {
		t.Errorf("rung for %v", rings)
	}
	if due := f.kick.taken(); len(due) > 0 {
		t.Errorf("kicked %v", due)
	}
}

func TestDeliverKicksWhoIsNot(t *testing.T) {
	f := newFixture(Options{})
	f.store.owners[uaid(2)] = 7
	f.Attach(device(1), &fakeBell{})
	f.Deliver(edition.Update{event(1, 5), event(2, 5), event(3, 5)}, edition.Delivery{})
	want := []edition.Holder{{Owner: 7}, device(3)} // a relay as such, not its device
	if due := f.kick.taken(); !slices.Equal(due, want) {
		t.Errorf("kicked %v, want %v", due, want)
	}
}

func TestWhoHasNoRouteIsNotKicked(t *testing.T) {
	f := newFixture(Options{})
	f.store.mute = map[edition.Holder]bool{device(1): true}
	f.Deliver(edition.Update{event(1, 5), event(2, 5)}, edition.Delivery{})
	if due := f.kick.taken(); !slices.Equal(due, []edition.Holder{device(2)}) {
		t.Errorf("kicked %v", due)
	}
}

func TestStaleEventsWakeNobody(t *testing.T) {
	f := newFixture(Options{})
	b := &fakeBell{}
	f.Attach(device(1), b)
	f.Deliver(edition.Update{event(1, 0), event(2, 0)}, edition.Delivery{})
	if rings, _ := b.heard(); len(rings) > 0 || len(f.kick.taken()) > 0 {
		t.Error("somebody was woken")
	}
	if testutil.ToFloat64(f.stale) != 2 || testutil.ToFloat64(f.fresh) != 0 {
		t.Error("not counted as stale")
	}
}

func TestARelayIsRungForItsDevices(t *testing.T) {
	f := newFixture(Options{})
	f.store.owners[uaid(1)] = 7
	b := &fakeBell{}
	f.Attach(edition.Holder{Owner: 7}, b)
	f.Deliver(edition.Update{event(1, 5)}, edition.Delivery{})
	if rings, _ := b.heard(); !slices.Equal(rings, []edition.UAID{uaid(1)}) {
		t.Errorf("rung for %v", rings)
	}
	if !f.Connected(edition.Holder{Owner: 7}) || f.Connected(device(1)) {
		t.Error("the relay is connected, its device is not")
	}
}

// Only where an ack may overtake the commit does the commit wait for it.
func TestGraceIsForTheConnected(t *testing.T) {
	f := newFixture(Options{Grace: 25 * time.Millisecond})
	f.Attach(device(1), &fakeBell{})
	many := make(edition.Update, graceUpdate+1)
	for i := range many {
		many[i] = event(1, 5)
	}
	for _, c := range []struct {
		u    edition.Update
		want time.Duration
	}{
		{edition.Update{event(1, 5)}, 25 * time.Millisecond},
		{edition.Update{event(2, 5)}, 0},
		{edition.Update{event(1, 5), event(2, 5)}, 0},
		{many, 0},
	} {
		f.Deliver(c.u, edition.Delivery{Adopt: true})
		if how := f.store.hows[len(f.store.hows)-1]; how.Grace != c.want || !how.Adopt {
			t.Errorf("%d events: %+v, want a grace of %v", len(c.u), how, c.want)
		}
	}
}

func TestTheNewestWins(t *testing.T) {
	f := newFixture(Options{})
	first, second := &fakeBell{}, &fakeBell{}
	f.Attach(device(1), first)
	f.Attach(device(1), first) // hello again
	if _, lost := first.heard(); len(lost) > 0 {
		t.Error("a session lost a party to itself")
	}
	f.Attach(device(1), second)
	if _, lost := first.heard(); !slices.Equal(lost, []edition.Holder{device(1)}) {
		t.Errorf("the first lost %v", lost)
	}
	f.Detach(device(1), first) // too late
	f.Deliver(edition.Update{event(1, 5)}, edition.Delivery{})
	if rings, _ := second.heard(); len(rings) != 1 {
		t.Error("the second is not rung")
	}
	if rings, _ := first.heard(); len(rings) > 0 {
		t.Error("the first is still rung")
	}
	if got := testutil.ToFloat64(f.connected); got != 1 {
		t.Errorf("%v connected", got)
	}
	f.Detach(device(1), second)
	f.Detach(device(1), second)
	if got := testutil.ToFloat64(f.connected); got != 0 || f.Connected(device(1)) {
		t.Errorf("%v connected at the end", got)
	}
}

// Who comes for a moment stops a kick, and takes the party from nobody.
func TestVisit(t *testing.T) {
	f := newFixture(Options{})
	f.kick.makeRoom(-1)
	visitor, lasting := &fakeBell{}, &fakeBell{}
	if !f.Visit(device(1), visitor) || !f.Connected(device(1)) {
		t.Error("nobody else is there")
	}
	if !slices.Equal(f.kick.stops, []edition.Holder{device(1)}) {
		t.Errorf("stopped %v", f.kick.stops)
	}
	f.Attach(device(1), lasting)
	if f.Visit(device(1), visitor) {
		t.Error("a visitor takes a party from who stays")
	}
	f.Detach(device(1), visitor)
	if _, lost := lasting.heard(); len(lost) > 0 || !f.Connected(device(1)) {
		t.Error("who stays has lost the party")
	}
	f.Detach(device(1), lasting)
	if got := testutil.ToFloat64(f.connected); got != 0 {
		t.Errorf("%v connected at the end", got)
	}
}

func TestAttachStopsKicks(t *testing.T) {
	f := newFixture(Options{})
	f.Attach(device(1), &fakeBell{})
	if !slices.Equal(f.kick.stops, []edition.Holder{device(1)}) {
		t.Errorf("stopped %v", f.kick.stops)
	}
}

func TestDetachWithSomethingPendingMakesAKickDue(t *testing.T) {
	f := newFixture(Options{})
	f.store.owners[uaid(3)] = 7
	relay := edition.Holder{Owner: 7}
	b := &fakeBell{}
	for _, p := range []edition.Holder{device(1), device(2), relay} {
		f.Attach(p, b)
	}
	f.Deliver(edition.Update{event(1, 5), event(3, 5)}, edition.Delivery{})
	for _, p := range []edition.Holder{device(1), device(2), relay} {
		if f.StillDue(p) {
			t.Errorf("%v is connected, and due", p)
		}
		f.Detach(p, b)
	}
	if due := f.kick.taken(); !slices.Equal(due, []edition.Holder{device(1), relay}) {
		t.Errorf("kicked %v", due)
	}
	if !f.StillDue(device(1)) || f.StillDue(device(2)) || !f.StillDue(relay) || f.StillDue(edition.Holder{Owner: 8}) {
		t.Error("who has something pending and is not connected is due")
	}
}

func TestAck(t *testing.T) {
	told := 0
	f := newFixture(Options{Delivered: func() { told++ }})
	for _, state := range []edition.AckState{edition.AckDelivered, edition.AckStored, edition.AckReleased, edition.AckRefused} {
		if err := f.Ack(edition.Direct, edition.Update{event(1, 5)}, state); err != nil {
			t.Error(err)
		}
	}
	if told != 1 {
		t.Errorf("told %d times: only what is delivered is reported upstream", told)
	}
	for counter, want := range map[prometheus.Counter]float64{f.cleared: 4, f.late: 8, f.ignored: 12} {
		if got := testutil.ToFloat64(counter); got != want {
			t.Errorf("%v: %v, want %v", counter.Desc(), got, want)
		}
	}
	f.store.ackErr = errStore
	if err := f.Ack(edition.Direct, nil, edition.AckDelivered); !errors.Is(err, errStore) || told != 1 {
		t.Errorf("%v, told %d times", err, told)
	}
}

func TestDrainRefusesAndKicksNobody(t *testing.T) {
	f := newFixture(Options{})
	b := &fakeBell{}
	f.Attach(device(1), b)
	f.Deliver(edition.Update{event(1, 5)}, edition.Delivery{})
	f.Drain()
	results, err := f.Deliver(edition.Update{event(1, 6), event(2, 6)}, edition.Delivery{}).Wait(t.Context())
	if err != nil || len(results) != 2 {
		t.Fatalf("%v, %v", results, err)
	}
	for _, res := range results {
		_, when := errors.AsType[*edition.RetryError](res.Err)
		if res.Outcome != edition.OutcomeFailed || !errors.Is(res.Err, edition.ErrUnavailable) || !when {
			t.Errorf("%+v", res)
		}
	}
	if len(f.store.hows) != 1 {
		t.Error("the store was asked")
	}
	if err := f.Ack(edition.Direct, edition.Update{event(1, 5)}, edition.AckDelivered); err != nil {
		t.Errorf("acks are taken to the end: %v", err)
	}
	f.Detach(device(1), b)
	if due := f.kick.taken(); len(due) > 0 || f.StillDue(device(1)) {
		t.Errorf("kicked %v", due)
	}
}

func TestWithoutAKicker(t *testing.T) {
	h := New(Options{Store: newFakeStore()})
	b := &fakeBell{}
	h.Deliver(edition.Update{event(1, 5)}, edition.Delivery{})
	h.Attach(device(1), b)
	h.Detach(device(1), b)
	if h.Connected(device(1)) || !h.StillDue(device(1)) {
		t.Error("everything but kicks works without a kicker")
	}
}

// The Kicker hears of acks that did something, by party.
func TestAckedTellsTheKicker(t *testing.T) {
	f := newFixture(Options{})
	u := edition.Update{event(1, 5), event(1, 6), event(2, 5), event(1, 7)}
	for _, c := range []struct {
		owner edition.Owner
		u     edition.Update
		state edition.AckState
		want  []edition.Holder
	}{
		{edition.Direct, u, edition.AckDelivered, []edition.Holder{device(1), device(2), device(1)}},
		{7, u, edition.AckStored, []edition.Holder{{Owner: 7}}},
		{7, u, edition.AckRefused, nil},
		{edition.Direct, nil, edition.AckDelivered, nil}, // nothing was cleared
	} {
		f.kick.acked = nil
		if err := f.Ack(c.owner, c.u, c.state); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.kick.acked, c.want) {
			t.Errorf("owner %d, state %v: told of %v, want %v", c.owner, c.state, f.kick.acked, c.want)
		}
	}
	f.store.ackErr = errStore
	f.kick.acked = nil
	if err := f.Ack(edition.Direct, u, edition.AckDelivered); err == nil || f.kick.acked != nil {
		t.Errorf("error %v, told of %v after an ack that failed", err, f.kick.acked)
	}
}

// Withdraw says what the test wants: whether the event was withdrawn, and the
// relay that is to be told.
func (s *fakeStore) Withdraw(_ context.Context, e edition.Event) (bool, edition.Owner, error) {
	return e.Version > 0, s.owners[e.UAID], s.ackErr
}

// TestWithdrawTellsTheRelay, not the device, also when it is not known whether
// the withdrawal is durable.
func TestWithdrawTellsTheRelay(t *testing.T) {
	f := newFixture(Options{})
	f.store.owners[uaid(1)], f.store.owners[uaid(2)] = 7, 8
	b, direct := &fakeBell{}, &fakeBell{}
	f.Attach(edition.Holder{Owner: 7}, b)
	f.Attach(device(1), direct)
	for i, err := range []error{nil, errStore} {
		f.store.ackErr = err
		bell, end := f.Watch(event(1, 5).Key)
		if withdrawn, got := f.Withdraw(t.Context(), event(1, 5)); !withdrawn || !errors.Is(got, err) {
			t.Errorf("withdrawn %v, %v", withdrawn, got)
		}
		if rings, _ := b.heard(); len(rings) != i+1 || rings[i] != uaid(1) {
			t.Errorf("the relay heard %v", rings)
		}
		select {
		case <-bell:
		default:
			t.Error("who waits for a receipt was not told")
		}
		end()
	}
	f.Withdraw(t.Context(), event(2, 5))
	f.Withdraw(t.Context(), event(3, 5))
	if due := f.kick.taken(); !slices.Equal(due, []edition.Holder{{Owner: 8}}) {
		t.Errorf("kicked %v", due)
	}
	if rings, _ := direct.heard(); len(rings) > 0 {
		t.Errorf("the device heard %v", rings)
	}
}
