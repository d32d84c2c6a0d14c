package hub

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

// Deliver stores, then looks who is here; a session attaches, then looks at
// the store: one of the two sees the event, at whatever instant they meet.
func TestNothingFallsBetweenDeliverAndAttach(t *testing.T) {
	f := newFixture(Options{Grace: time.Millisecond})
	for i := range 2000 {
		var p edition.Holder
		p.UAID[0], p.UAID[1] = byte(i), byte(i>>8)
		e := edition.Event{Key: edition.Key{UAID: p.UAID}, Version: 1}
		b := &fakeBell{}
		var looked edition.Update
		var both sync.WaitGroup
		both.Go(func() { f.Deliver(edition.Update{e}, edition.Delivery{}) })
		both.Go(func() {
			f.Attach(p, b)
			looked, _ = f.store.Pending(nil, edition.Direct, p.UAID)
		})
		both.Wait()
		if rings, _ := b.heard(); len(looked) == 0 && len(rings) == 0 {
			t.Fatalf("round %d: neither rung nor seen", i)
		}
	}
}

// Of many sessions that come and go at once, each but the last is told that it
// lost, or has left by itself, and the last is the one that is rung.
func TestSessionsComeAndGoAtOnce(t *testing.T) {
	f := newFixture(Options{})
	bells := make([]*fakeBell, 50)
	var all sync.WaitGroup
	for i := range bells {
		bells[i] = &fakeBell{}
		all.Go(func() {
			f.Attach(device(1), bells[i])
			f.Deliver(edition.Update{event(1, 1)}, edition.Delivery{})
			if i%2 == 0 {
				f.Detach(device(1), bells[i])
			}
		})
	}
	all.Wait()
	last := f.bell(device(1))
	for i, b := range bells {
		_, lost := b.heard()
		switch {
		case i%2 == 1 && (len(lost) == 0) != (last == Bell(b)):
			t.Errorf("session %d stayed, lost %v, and is the last: %v", i, lost, last == Bell(b))
		case i%2 == 0 && last == Bell(b):
			t.Errorf("session %d has left and is still there", i)
		case len(lost) > 1:
			t.Errorf("session %d lost %v", i, lost)
		}
	}
}

func TestRunFindsWhatIsDueFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Options{})
		var want []edition.Holder
		for i := range 3 * scanChunk {
			var h edition.Holder
			h.UAID[0], h.UAID[1], h.UAID[2] = byte(i>>8), byte(i), 1
			f.store.pending[h] = edition.Update{{Key: edition.Key{UAID: h.UAID}, Version: 1}}
			if i%100 == 50 {
				f.Attach(h, &fakeBell{})
			} else {
				want = append(want, h)
			}
		}
		relayed := edition.Holder{Owner: 7, UAID: uaid(9)}
		f.store.pending[relayed] = edition.Update{{Key: edition.Key{UAID: relayed.UAID}, Version: 1}}
		want = append(want, relayed.Party())
		stop := f.run(t)
		synctest.Wait()
		got := f.kick.taken()
		slices.SortFunc(want, func(a, b edition.Holder) int {
			if less(a, b) {
				return -1
			}
			return 1
		})
		if !slices.Equal(got, want) {
			t.Errorf("%d are due, want %d", len(got), len(want))
		}
		time.Sleep(2*scanEvery + time.Minute) // and again, in case the kicker lost them
		if again := f.kick.taken(); len(again) < 2*len(want) {
			t.Errorf("%d are due after a while", len(again))
		}
		stop()
	})
}

// Whom a full Kicker refuses is found again.
func TestRunComesBackWhenTheKickerWasFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Options{})
		stop := f.run(t)
		synctest.Wait()
		f.kick.makeRoom(0)
		f.Deliver(edition.Update{event(1, 5), event(2, 5)}, edition.Delivery{})
		time.Sleep(time.Minute)
		if due := f.kick.taken(); len(due) > 0 {
			t.Errorf("a full kicker took %v", due)
		}
		f.kick.makeRoom(1)
		time.Sleep(time.Second)
		if due := f.kick.taken(); !slices.Equal(due, []edition.Holder{device(1)}) {
			t.Errorf("with room for one it took %v", due)
		}
		f.Attach(device(2), &fakeBell{}) // comes by itself
		time.Sleep(time.Second)
		f.kick.makeRoom(-1)
		time.Sleep(time.Second)
		if due := f.kick.taken(); slices.Contains(due, device(2)) {
			t.Errorf("kicked %v, one of whom is connected", due)
		}
		stop()
	})
}

func TestRunTriesAStoreThatFailsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Options{})
		f.store.pending[device(1)] = edition.Update{event(1, 5)}
		f.store.dueErr = errStore
		stop := f.run(t)
		time.Sleep(time.Minute)
		f.store.mu.Lock()
		scans := f.store.scans
		f.store.dueErr = nil
		f.store.mu.Unlock()
		if scans < 2 || scans > 20 {
			t.Errorf("%d tries in a minute", scans)
		}
		time.Sleep(scanAgain + time.Second)
		if due := f.kick.taken(); !slices.Equal(due, []edition.Holder{device(1)}) {
			t.Errorf("kicked %v", due)
		}
		stop()
	})
}

// A drain ends a scan that waits for room.
func TestDrainEndsAScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Options{})
		f.store.pending[device(1)] = edition.Update{event(1, 5)}
		f.kick.makeRoom(0)
		stop := f.run(t)
		time.Sleep(time.Second)
		f.Drain()
		synctest.Wait()
		f.kick.makeRoom(-1)
		time.Sleep(time.Minute)
		if due := f.kick.taken(); len(due) > 0 {
			t.Errorf("kicked %v while draining", due)
		}
		stop()
	})
}

func TestRunWithoutAKickerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{Hub: New(Options{Store: newFakeStore()})}
		stop := f.run(t)
		synctest.Wait()
		stop()
	})
}

// A scan that waits for the Kicker does not rest for that time as well: it
// keeps pace with the Kicker's rate.
func TestScanKeepsPaceWithAFullKicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Options{})
		const n = 4 * scanChunk
		for i := range n {
			var h edition.Holder
			h.UAID[0], h.UAID[1], h.UAID[2] = byte(i>>8), byte(i), 1
			f.store.pending[h] = edition.Update{{Key: edition.Key{UAID: h.UAID}, Version: 1}}
		}
		f.kick.makeRoom(0)
		stop := f.run(t)
		const perPause = scanChunk / 4
		taken := 0
		for range 2*n/perPause + 4 { // twice: the two wake up at the same instants, in any order
			time.Sleep(scanPause)
			taken += len(f.kick.taken())
			f.kick.makeRoom(perPause)
		}
		time.Sleep(scanPause)
		if taken += len(f.kick.taken()); taken != n {
			t.Errorf("%d of %d were found in the time that the Kicker needs for them", taken, n)
		}
		stop()
	})
}
