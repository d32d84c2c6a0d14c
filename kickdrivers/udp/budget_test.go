package udp

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4000)
}

// passed counts the kicks to one target that go through.
func passed(b *budget, to netip.AddrPort, n int) (ok int, wait time.Duration) {
	jobs := make([]job, n)
	for i := range jobs {
		jobs[i].to = to
	}
	ok = n
	b.takeAll(jobs, func(_ int, w time.Duration) { ok, wait = ok-1, w })
	return ok, wait
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1, 5, 1<<16)
		if n, wait := passed(b, addr(1), 100); n != 5 || wait != time.Second {
			t.Errorf("%d of a burst of 100 went through, the rest is to wait %v; want 5 and 1s", n, wait)
		}
		if n, _ := passed(b, addr(2), 5); n != 5 {
			t.Error("one target's kicks are charged to another")
		}
		time.Sleep(3 * time.Second)
		if n, _ := passed(b, addr(1), 100); n != 3 {
			t.Errorf("%d went through after 3 s at 1/s, want 3", n)
		}
		time.Sleep(time.Hour)
		if n, _ := passed(b, addr(1), 100); n != 5 {
			t.Errorf("%d went through after an hour, want the burst of 5", n)
		}
		other := netip.AddrPortFrom(addr(1).Addr(), 4001)
		if n, _ := passed(b, other, 1); n != 1 {
			t.Error("two ports share a budget")
		}
	})
}

func TestBudgetOff(t *testing.T) {
	if n, _ := passed(newBudget(0, 1, 1), addr(1), 100); n != 100 {
		t.Errorf("%d of 100 went through without a limit", n)
	}
}

// TestBudgetIsFair kicks as many targets as the default rate of a driver
// reaches in the time of a burst: hardly one is charged for others.
func TestBudgetIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1, 5, 1<<16)
		lost := 0
		for i := range 5000 {
			if n, _ := passed(b, addr(i), 5); n < 5 {
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
		passed(b, addr(1), 5)
		for i := range 1 << 16 {
			passed(b, addr(i+2), 1)
		}
		if n, _ := passed(b, addr(1), 5); n != 0 {
			t.Errorf("%d kicks over the rate went through", n)
		}
		if len(b.paid) != 1<<10 {
			t.Error("the table grew")
		}
	})
}
