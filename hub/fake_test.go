package hub

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
)

// fakeStore keeps what is pending, and nothing else of a store.
type fakeStore struct {
	edition.Store // nil: what the hub must not call

	mu      sync.Mutex
	pending map[edition.Holder]edition.Update // by Holder with its UAID
	owners  map[edition.UAID]edition.Owner
	hows    []edition.Delivery
	acks    []edition.AckState
	ackErr  error
	dueErr  error
	scans   int                     // of Due, from its beginning
	mute    map[edition.Holder]bool // without a route
}

func newFakeStore() *fakeStore {
	return &fakeStore{pending: map[edition.Holder]edition.Update{}, owners: map[edition.UAID]edition.Owner{}}
}

func (s *fakeStore) Deliver(u edition.Update, how edition.Delivery) *edition.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hows = append(s.hows, how)
	r := edition.NewReceipt(len(u))
	for i, e := range u {
		if e.Version > 0 { // version 0 stands for a stale one
			h := edition.Holder{Owner: s.owners[e.UAID], UAID: e.UAID}
			s.pending[h] = append(s.pending[h], e)
			r.Fresh = append(r.Fresh, h)
		}
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeStored, Version: e.Version})
	}
	return r
}

func (s *fakeStore) Pending(dst edition.Update, owner edition.Owner, uaid edition.UAID) (edition.Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.pending[edition.Holder{Owner: owner, UAID: uaid}]...), nil
}

// Scan passes over one UAID at a time, so that it returns nothing and more.
func (s *fakeStore) Scan(dst edition.Update, owner edition.Owner, after edition.Key, _ int) (edition.Update, edition.Key, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after.UAID[0] < 3 {
		after.UAID[0]++
		return dst, after, true, nil
	}
	for h, u := range s.pending {
		if h.Owner == owner {
			dst = append(dst, u[0])
			break
		}
	}
	return dst, after, false, nil
}

func (s *fakeStore) Ack(_ edition.Owner, u edition.Update, state edition.AckState) (edition.AckCount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, state)
	return edition.AckCount{Cleared: len(u), Late: 2, Ignored: 3}, s.ackErr
}

func (s *fakeStore) Due(dst []edition.Holder, after edition.Holder, limit int) ([]edition.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after == (edition.Holder{}) {
		s.scans++
	}
	if s.dueErr != nil {
		return dst, s.dueErr
	}
	for { // the next in order, by hand: few are enough
		var next *edition.Holder
		for h := range s.pending {
			if p := h.Party(); less(after, p) && (next == nil || less(p, *next)) {
				next = &p
			}
		}
		if next == nil || len(dst) == limit {
			return dst, nil
		}
		dst, after = append(dst, *next), *next
	}
}

func less(a, b edition.Holder) bool {
	return a.Owner < b.Owner || a.Owner == b.Owner && a.UAID.Compare(b.UAID) < 0
}

// fakeKicker takes parties until it is full.
type fakeKicker struct {
	mu    sync.Mutex
	room  int // -1: endless
	due   []edition.Holder
	stops []edition.Holder
	acked []edition.Holder
}

func (k *fakeKicker) Due(p edition.Holder) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.room == 0 {
		return false
	}
	k.room--
	k.due = append(k.due, p)
	return true
}

func (k *fakeKicker) Found(p edition.Holder) bool { return k.Due(p) }

func (k *fakeKicker) Stop(p edition.Holder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stops = append(k.stops, p)
}

func (k *fakeKicker) Acked(p edition.Holder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.acked = append(k.acked, p)
}

func (k *fakeKicker) makeRoom(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.room = n
}

// taken returns who is due since the last call.
func (k *fakeKicker) taken() []edition.Holder {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := k.due
	k.due = nil
	return due
}

// fakeBell notes what it hears.
type fakeBell struct {
	mu    sync.Mutex
	rings []edition.UAID
	lost  []edition.Holder
}

func (b *fakeBell) Ring(u edition.UAID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rings = append(b.rings, u)
}

func (b *fakeBell) Lost(p edition.Holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = append(b.lost, p)
}

func (b *fakeBell) heard() (rings []edition.UAID, lost []edition.Holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rings, b.lost
}

type fixture struct {
	*Hub
	store *fakeStore
	kick  *fakeKicker
	reg   *prometheus.Registry
}

func newFixture(o Options) *fixture {
	f := &fixture{store: newFakeStore(), kick: &fakeKicker{room: -1}, reg: prometheus.NewRegistry()}
	o.Store, o.Kick, o.Metrics = f.store, f.kick, f.reg
	f.Hub = New(o)
	return f
}

// run runs the hub until the test ends.
func (f *fixture) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func event(n byte, v edition.Version) edition.Event {
	return edition.Event{Key: edition.Key{UAID: uaid(n), AppID: [16]byte{n}}, Version: v}
}

func uaid(n byte) edition.UAID { return edition.UAID{n} }

func device(n byte) edition.Holder { return edition.Holder{UAID: uaid(n)} }

var errStore = errors.New("store")

// Kickable implements edition.Store.
func (s *fakeStore) Kickable(h edition.Holder) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.mute[h]
}
