package kickdrivers

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func target(i int) string { return fmt.Sprintf("10.0.%d.%d:4000", i>>8, i&255) }

// passed counts the kicks to one target that go through.
func passed(b *budget, aim string, n int) (ok int, wait time.Duration) {
	targets := make([]uint64, n)
	for i := range targets {
		targets[i] = b.hash(aim)
	}
	ok = n
	b.takeAll(targets, func(_ int, w time.Duration) { ok, wait = ok-1, w })
	return ok, wait
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1, 5, 1<<16)
		if n, wait := passed(b, target(1), 100); n != 5 || wait != time.Second {
			t.Errorf("%d of a burst of 100 went through, the rest is to wait %v; want 5 and 1s", n, wait)
		}
		if n, _ := passed(b, target(2), 5); n != 5 {
			t.Error("one target's kicks are charged to another")
		}
		time.Sleep(3 * time.Second)
		if n, _ := passed(b, target(1), 100); n != 3 {
			t.Errorf("%d went through after 3 s at 1/s, want 3", n)
		}
		time.Sleep(time.Hour)
		if n, _ := passed(b, target(1), 100); n != 5 {
			t.Errorf("%d went through after an hour, want the burst of 5", n)
		}
	})
}

// TestBudgetIsFair kicks as many targets as the default rate of an entry
// reaches in the time of a burst: hardly one is charged for others.
func TestBudgetIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := DefaultPolicy().newBudget()
		lost := 0
		for i := range 5000 {
			if n, _ := passed(b, target(i), 5); n < 5 {
				lost++
			}
		}
		if lost > 250 {
			t.Errorf("%d of 5000 targets are charged for others", lost)
		}
	})
}

// TestBudgetIsBounded has an attacker name many targets: the one that is
// over its rate stays so.
func TestBudgetIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1, 5, 1<<10)
		passed(b, target(1), 5)
		for i := range 1 << 16 {
			passed(b, target(i+2), 1)
		}
		if n, _ := passed(b, target(1), 5); n != 0 {
			t.Errorf("%d kicks over the rate went through", n)
		}
		if len(b.paid) != 1<<10 {
			t.Error("the table grew")
		}
	})
}

func TestCounters(t *testing.T) {
	for _, c := range []struct {
		rate, targetRate    float64
		burst, counters, is int
	}{
		{1000, 1, 5, 0, 80_000},
		{1000, 1, 5, 7, 7},
		{1, 1, 5, 0, 1 << 12},
		{0, 1, 5, 0, 1 << 22},
		{1e9, 0.001, 1e6, 0, 1 << 22},
	} {
		p := Policy{Rate: c.rate, TargetRate: c.targetRate, TargetBurst: c.burst, TargetCounters: c.counters}
		if got := p.counters(); got != c.is {
			t.Errorf("%+v: %d counters, want %d", c, got, c.is)
		}
	}
	if (Policy{}).newBudget() != nil {
		t.Error("a budget without a rate")
	}
}
