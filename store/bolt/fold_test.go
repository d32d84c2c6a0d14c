package bolt

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// TestFoldUnderLoad delivers and acknowledges while folds run all the time and
// drop rows from memory, checks each key as it goes, and ends the store without
// a last commit: what it promised is there, whatever state the sweep was in.
func TestFoldUnderLoad(t *testing.T) {
	const workers, keys = 8, 600
	rounds := 1000
	if os.Getenv("EDITION_LONG") != "" {
		rounds = 50_000
	}
	path := filepath.Join(t.TempDir(), "edition.db")
	o := Options{Path: path, MemoryRows: 500, JournalBytes: 64 << 10, Sync: SyncInterval}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	abort := start(t, s)
	relay, err := s.Relay(t.Context(), "r", "1")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	want := edition.Update{} // what is pending at the end
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			l := &load{T: t, s: s, owner: relay, rand: rand.New(rand.NewPCG(uint64(w), 7)), keys: make([]loadKey, keys)}
			for i := range l.keys {
				l.keys[i].key = benchKey(w*keys + i)
			}
			l.registerAll()
			for range rounds {
				l.step()
			}
			mu.Lock()
			want = append(want, l.settle()...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	want = want.Normalize()
	same := func(when string) {
		t.Helper()
		var got edition.Update
		for after, more := (edition.Key{}), true; more; {
			if got, after, more, err = s.Scan(got, relay, after, 100); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %d pending, want %d, or others", when, len(got), len(want))
		}
	}
	same("at the end of the load")
	if n := counter(t, s.metrics.folded); n < keys {
		t.Errorf("only %v rows were folded", n)
	}
	abort()
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	same("opened again")
	abort = start(t, s)
	abort()
	var stop func()
	s, stop = run(t, o)
	same("once more")
	s.closing = time.Hour // however slow the machine is
	stop()
	s, _ = run(t, o)
	if s.fold.kept > 0 {
		t.Error("a stop in good order left a journal")
	}
	same("after a stop in good order")
}

// load is one goroutine with keys of its own, and what it knows of them.
type load struct {
	*testing.T
	s     *Store
	owner edition.Owner
	rand  *rand.Rand
	keys  []loadKey
}

type loadKey struct {
	key     edition.Key
	pending edition.Version // 0: nothing
	high    edition.Version
}

func (l *load) registerAll() {
	var wg sync.WaitGroup
	for i := range l.keys {
		wg.Go(func() {
			if err := l.s.Register(l.Context(), edition.Registration{Key: l.keys[i].key, Owner: l.owner}); err != nil {
				l.Error(err)
			}
		})
	}
	wg.Wait()
}

// step does something to some of the keys.
func (l *load) step() {
	n := 1
	if l.rand.IntN(10) == 0 {
		n = 40
	}
	var u edition.Update
	at := map[edition.Key]*loadKey{}
	for range n {
		k := &l.keys[l.rand.IntN(len(l.keys))]
		at[k.key] = k
		u = append(u, edition.Event{Key: k.key, Version: max(k.pending, k.high) + 1})
	}
	u = u.Normalize()
	switch l.rand.IntN(3) {
	case 0: // stored
		rs, err := l.s.Deliver(u, edition.Delivery{}).Wait(l.Context())
		for i := range rs {
			if err != nil || rs[i].Outcome != edition.OutcomeStored || rs[i].Version != u[i].Version {
				l.Errorf("%+v %v", rs[i], err)
			}
			at[u[i].Key].pending = u[i].Version
		}
	case 1: // delivered, and acknowledged before its commit or after it
		r := l.s.Deliver(u, edition.Delivery{Grace: time.Duration(l.rand.IntN(4)) * time.Millisecond})
		l.ack(u, at)
		if _, err := r.Wait(l.Context()); err != nil {
			l.Error(err)
		}
	case 2: // acknowledged
		u = slices.DeleteFunc(u, func(e edition.Event) bool { return at[e.Key].pending == 0 })
		for i := range u {
			u[i].Version = at[u[i].Key].pending
		}
		l.ack(u, at)
	}
	for _, k := range at {
		l.check(k)
	}
}

func (l *load) ack(u edition.Update, at map[edition.Key]*loadKey) {
	if err := l.s.Sent(l.owner, u); err != nil {
		l.Error(err)
	}
	if n, err := l.s.Ack(l.owner, u, edition.AckDelivered); err != nil || n.Cleared != len(u) {
		l.Errorf("%+v %v, want %d cleared", n, err, len(u))
	}
	for _, e := range u {
		at[e.Key].pending, at[e.Key].high = 0, e.Version
	}
}

func (l *load) check(k *loadKey) {
	st, err := l.s.State(k.key)
	switch {
	case err != nil:
		l.Error(err)
	case k.pending > 0 && (st.State != edition.StatePending || st.Version != k.pending),
		k.pending == 0 && k.high > 0 && (st.State != edition.StateDelivered || st.Version != k.high):
		l.Errorf("%+v, want pending %d, delivered %d", st, k.pending, k.high)
	}
}

// settle makes something pending for each key, durably, so that no clear is on
// its way, and returns it.
func (l *load) settle() (u edition.Update) {
	for i := range l.keys {
		k := &l.keys[i]
		u = append(u, edition.Event{Key: k.key, Version: max(k.pending, k.high) + 1})
	}
	u = u.Normalize()
	if _, err := l.s.Deliver(u, edition.Delivery{}).Wait(l.Context()); err != nil {
		l.Error(err)
	}
	return u
}
