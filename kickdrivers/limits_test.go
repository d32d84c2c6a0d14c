package kickdrivers_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

func TestRate(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 1200 {
			r.d.Due(r.device("one", fmt.Sprint(i)))
		}
		var most int
		r.mu.Lock()
		r.onBatch = func(n int) { most = max(most, n) }
		r.mu.Unlock()
		r.pass(300 * ms)
		r.counts("sent", 200) // the burst
		r.pass(5 * time.Second)
		if n := counted(t, r.reg, "sent"); n < 690 || n > 702 {
			t.Errorf("%d kicks in 5 s at 100/s after a burst of 200", n)
		}
		r.pass(6 * time.Second)
		r.counts("sent", 1200)
		if n := counted(t, r.reg, "rate_limited"); n < 950 || n > 1000 {
			t.Errorf("%d kicks are counted as late", n)
		}
		if most > 256 {
			t.Errorf("a batch of %d", most)
		}
	}, func(p *kickdrivers.Policy) { p.Rate, p.RetryMin, p.RetryMax = 100, time.Hour, time.Hour })
}

// TestSlowDriverDoesNotStopOthers fills one driver's places and rate.
func TestSlowDriverDoesNotStopOthers(t *testing.T) {
	bubble(t, func(r *rig) {
		hold := make(chan struct{})
		r.answers(func(target string) error {
			if target[0] == 's' {
				<-hold
			}
			return nil
		})
		for i := range 600 {
			r.d.Due(r.device("one", fmt.Sprint("s", i)))
		}
		for i := range 600 {
			r.d.Due(r.device("two", fmt.Sprint("f", i)))
		}
		r.pass(time.Second)
		r.counts("sent", 600)
		close(hold)
		r.pass(time.Second)
		r.counts("sent", 1200)
	}, func(p *kickdrivers.Policy) { p.Rate, p.Parallel = 0, 1 }, func(p *kickdrivers.Policy) { p.Rate = 0 })
}

func TestBreaker(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(string) error { return edition.ErrUnavailable })
		for i := range 100 {
			r.d.Due(r.device("one", fmt.Sprint(i)))
			time.Sleep(50 * ms) // one by one, not in one batch
		}
		r.pass(time.Second)
		r.counts("failed", 5)
		r.counts("breaker_open", 1)
		r.pass(6 * time.Second) // 10 s after it opened: one probe
		r.counts("failed", 6)
		r.counts("breaker_open", 2)
		r.pass(10 * time.Second)
		r.counts("failed", 6) // it stays open for 20 s now
		r.answers(func(string) error { return nil })
		var most int
		r.mu.Lock()
		r.onBatch = func(n int) { most = max(most, n) }
		r.mu.Unlock()
		r.pass(10 * time.Second)
		r.counts("failed", 6)
		if most < 90 {
			t.Errorf("once the probe went through, the rest came by %d at most", most)
		}
		if n := counted(t, r.reg, "sent"); n < 94 {
			t.Errorf("%d of the 94 that waited were kicked", n)
		}
		if n := gauge(t, r.reg, "edition_kickdrivers_breaker_open"); n != 0 {
			t.Error("the breaker is still open")
		}
	}, func(p *kickdrivers.Policy) { p.RetryMin, p.Rate = 30*time.Second, 0 })
}

func TestBreakerCountsFailuresInARow(t *testing.T) {
	bubble(t, func(r *rig) {
		n := 0
		r.answers(func(string) error {
			if n++; n%5 == 0 {
				return nil
			}
			return edition.ErrUnavailable
		})
		for i := range 100 {
			r.d.Due(r.device("one", fmt.Sprint(i)))
			time.Sleep(50 * ms)
		}
		r.pass(time.Second)
		r.counts("failed", 80)
		r.counts("breaker_open", 0)
	})
}

// TestTurnIsPassedOn has those who wait for a slow driver connect meanwhile:
// what they do not use goes to the next.
func TestTurnIsPassedOn(t *testing.T) {
	bubble(t, func(r *rig) {
		var all []edition.Holder
		for i := range 50 {
			all = append(all, r.device("one", fmt.Sprint(i)))
			r.d.Due(all[i])
		}
		r.pass(500 * ms)
		r.counts("sent", 1)
		for _, who := range all {
			r.set(who, false) // taken, by a poll that nobody told of
		}
		r.d.Due(r.device("one", "new"))
		r.pass(1500 * ms)
		if n := len(r.times("new")); n != 1 {
			t.Errorf("%d kicks of the one that is still due", n)
		}
	}, func(p *kickdrivers.Policy) { p.Rate, p.Burst = 1, 1 }, func(p *kickdrivers.Policy) { p.Rate = 0 })
}

// TestFailingTargetsDoNotOpenTheBreaker is what keeps one device from having
// all others not kicked.
func TestFailingTargetsDoNotOpenTheBreaker(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(string) error { return errTarget })
		for i := range 100 {
			r.d.Due(r.device("one", fmt.Sprint(i)))
		}
		r.pass(time.Second)
		r.counts("failed", 100)
		r.counts("breaker_open", 0)
	})
}

func TestPanicIsAFailure(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(target string) error {
			if target == "bad" {
				panic("boom")
			}
			return nil
		})
		who := r.device("one", "bad")
		r.d.Due(who)
		r.pass(time.Second)
		r.counts("failed", 1)
		r.d.Stop(who)
		r.d.Due(r.device("one", "good"))
		r.pass(time.Second)
		r.counts("sent", 1)
	})
}

func TestFull(t *testing.T) {
	bubble(t, func(r *rig) {
		first := make([]edition.Holder, 10)
		for i := range first {
			first[i] = r.device("one", "old")
			if !r.d.Due(first[i]) {
				t.Fatal("full too early")
			}
		}
		if r.d.Due(r.device("one", "new")) {
			t.Fatal("took more than max_waiting")
		}
		if !r.d.Due(first[3]) {
			t.Error("full for one that it holds already")
		}
		if n := gauge(t, r.reg, "edition_kickdrivers_full_total"); n != 1 {
			t.Errorf("full is counted %v times", n)
		}
		r.pass(time.Second) // all were kicked, none came
		if r.d.Due(r.device("one", "new")) {
			t.Error("made room by forgetting a kick that is not min_interval old")
		}
		r.pass(5 * time.Second)
		for range 10 {
			if !r.d.Found(r.device("one", "new")) {
				t.Fatal("those that were kicked make no room for those that were not")
			}
		}
		if r.d.Due(r.device("one", "newer")) {
			t.Error("made room by forgetting one that was not kicked yet")
		}
		r.pass(time.Second)
		if n := len(r.times("new")); n != 10 {
			t.Errorf("%d of 10 newcomers were kicked", n)
		}
		r.held(10)
	}, func(p *kickdrivers.Policy) { p.MaxWaiting = 10 })
}

// TestRandom drives a few devices, some with a list of routes, at random for a
// day and checks what must hold at any time: no target is kicked twice within
// min_interval, and all that are due are kicked in the end.
func TestRandom(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { random(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func random(t *testing.T, rnd *rand.Rand) {
	r := newRig(t, func(p *kickdrivers.Policy) { p.Rate, p.Burst, p.Parallel, p.MaxWaiting = 5, 2, 1, 12 },
		func(p *kickdrivers.Policy) { p.Grace, p.MinInterval, p.MaxWaiting = 0, time.Second, 12 })
	defer r.stop()
	interval := map[string]time.Duration{"one": 5 * time.Second, "two": time.Second}
	r.answers(func(string) error {
		time.Sleep(time.Duration(rand.IntN(200)) * ms)
		return []error{nil, nil, nil, errTarget, edition.ErrTooMany, edition.ErrForbidden, edition.ErrUnavailable}[rand.IntN(7)]
	})
	devices := make([]edition.Holder, 30)
	for i := range devices {
		if devices[i] = r.device(entryNames[i%2], fmt.Sprint(i)); i%3 == 0 {
			devices[i] = r.device(entryNames[i%2], fmt.Sprint(i), entryNames[(i+1)%2], fmt.Sprint("b", i), entryNames[i%2], fmt.Sprint("c", i))
		}
		r.set(devices[i], false)
	}
	for range 3000 {
		i := rnd.IntN(len(devices))
		switch who := devices[i]; rnd.IntN(5) {
		case 0: // connects and takes all
			r.set(who, false)
			r.d.Stop(who)
		case 1, 2: // a new event while away
			r.set(who, true)
			r.d.Due(who)
		case 3:
			if r.stillDue(who) {
				r.d.Found(who)
			}
		case 4:
			r.d.Acked(who)
		}
		r.pass(time.Duration(rnd.IntN(3000)) * ms)
	}
	r.answers(func(string) error { return nil })
	r.pass(20 * time.Minute)
	before := len(r.kicks)
	for _, who := range devices {
		r.set(who, true)
		for !r.d.Due(who) {
			r.pass(time.Second)
		}
	}
	r.pass(10 * time.Minute)
	last := make(map[string]time.Duration)
	late := make(map[string]bool)
	for n, k := range r.kicks {
		if errors.Is(k.err, edition.ErrTooMany) || errors.Is(k.err, edition.ErrForbidden) {
			continue // nothing was sent
		}
		if at, ok := last[k.target]; ok && k.at-at < interval[k.entry] {
			t.Errorf("%s was kicked at %v and %v", k.target, at, k.at)
		}
		last[k.target] = k.at
		late[strings.TrimLeft(k.target, "bc")] = n >= before || late[strings.TrimLeft(k.target, "bc")]
	}
	for i := range devices {
		if !late[fmt.Sprint(i)] {
			t.Errorf("device %d was due and never kicked", i)
		}
	}
	for _, who := range devices {
		r.set(who, false)
		r.d.Stop(who)
	}
	r.pass(2 * time.Hour)
	r.held(0)
}
