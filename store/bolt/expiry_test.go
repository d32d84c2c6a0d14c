package bolt

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// TestExpiry lets events and registrations outlive their times, in memory and
// in tables: they are not sent, counted once each, and shown.
func TestExpiry(t *testing.T) {
	for name, o := range map[string]Options{"in memory": {}, "in tables": {MemoryRows: 1, JournalBytes: 1}} {
		t.Run(name, func(t *testing.T) { testExpiry(t, o) })
	}
}

func testExpiry(t *testing.T, o Options) {
	var now atomic.Int64
	now.Store(1_700_000_000_000)
	o.Now = func() time.Time { return time.UnixMilli(now.Load()) }
	o.TTL, o.RegistrationTTL, o.SweepEvery = time.Hour, 48*time.Hour, 5*time.Millisecond
	s, _ := run(t, o)
	const n = 50
	var u edition.Update
	for i := range n {
		k := benchKey(i)
		if err := s.Register(t.Context(), edition.Registration{Key: k}); err != nil {
			t.Fatal(err)
		}
		u = append(u, edition.Event{Key: k, Version: 3})
	}
	u = u.Normalize()
	if _, err := s.Deliver(u, edition.Delivery{}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // a few sweeps find nothing
	if got := counter(t, s.metrics.expired); got != 0 {
		t.Fatalf("%v expired too early", got)
	}

	now.Add(time.Hour.Milliseconds())
	if got, err := s.Pending(nil, edition.Direct, u[0].UAID); err != nil || len(got) > 0 {
		t.Error("an expired event is to be sent:", got, err)
	}
	wait(t, "expiry", func() bool { return counter(t, s.metrics.expired) >= n })
	for _, e := range u {
		st, err := s.State(e.Key)
		if err != nil || st.State != edition.StateExpired || st.Version != 3 || st.Since.UnixMilli() != now.Load() {
			t.Fatal(st, err)
		}
	}
	time.Sleep(20 * time.Millisecond)
	if got := counter(t, s.metrics.expired); got != n {
		t.Errorf("%v of %d expired events were counted", got, n)
	}
	// The same version may come again.
	again := u[:1]
	if rs, err := s.Deliver(again, edition.Delivery{}).Wait(t.Context()); err != nil || rs[0].Outcome != edition.OutcomeStored {
		t.Fatal(rs, err)
	}

	// One device shows up in time.
	now.Add(30 * time.Hour.Milliseconds())
	if err := s.Register(t.Context(), edition.Registration{Key: u[1].Key}); err != nil {
		t.Fatal(err)
	}
	now.Add(30 * time.Hour.Milliseconds())
	wait(t, "lapse", func() bool { return counter(t, s.metrics.lapsed) >= n-1 })
	if _, err := s.State(u[1].Key); err != nil {
		t.Error("a device that was seen has lapsed:", err)
	}
	if _, err := s.State(u[2].Key); !errors.Is(err, edition.ErrGone) {
		t.Error("a lapsed registration:", err)
	}
	if _, err := s.Agent(u[2].UAID); !errors.Is(err, edition.ErrNotFound) {
		t.Error("a lapsed device:", err)
	}
	rs, err := s.Deliver(u[2:3], edition.Delivery{}).Wait(t.Context())
	if err != nil || rs[0].Outcome != edition.OutcomeGone {
		t.Error(rs, err)
	}
	// Whoever comes after it makes a new one.
	other := edition.Proof{7}
	if err := s.Register(t.Context(), edition.Registration{Key: u[2].Key, Proof: other}); err != nil {
		t.Error(err)
	}
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting for %s: nothing happens", what)
		}
	}
}
