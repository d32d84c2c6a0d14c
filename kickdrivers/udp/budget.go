package udp

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// budget limits the kicks that one ip:port gets, however many devices name it.
// It is a table of fixed size and keeps no addresses: a target owns two
// numbers, found by a keyed hash, and has budget left if either says so. Two
// targets meet in both only by a rare chance, which nobody outside can seek.
type budget struct {
	// Fixed after construction.
	step  int64 // nanoseconds that one kick costs; 0: no limit
	slack int64 // how far a target may be ahead of its rate
	seed  maphash.Seed
	start time.Time

	mu   sync.Mutex
	paid []int64 // Guarded by mu. Up to when the kicks sent are paid for.
}

func newBudget(rate float64, burst, counters int) *budget {
	b := &budget{seed: maphash.MakeSeed(), start: time.Now()}
	if rate > 0 {
		b.step = int64(float64(time.Second) / rate)
		b.slack = int64(burst-1) * b.step
		b.paid = make([]int64, counters)
	}
	return b
}

// takeAll charges one kick to each target and calls refused with those that
// have to wait, and for how long.
func (b *budget) takeAll(jobs []job, refused func(n int, wait time.Duration)) {
	if b.step == 0 {
		return
	}
	now := int64(time.Since(b.start))
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := range jobs {
		if wait := b.take(jobs[n].to, now); wait > 0 {
			refused(n, wait)
		}
	}
}

func (b *budget) take(to netip.AddrPort, now int64) (wait time.Duration) {
	var key [18]byte
	ip := to.Addr().As16()
	copy(key[:], ip[:])
	binary.BigEndian.PutUint16(key[16:], to.Port())
	h := maphash.Bytes(b.seed, key[:])
	x := &b.paid[uint32(h)%uint32(len(b.paid))]
	y := &b.paid[uint32(h>>32)%uint32(len(b.paid))]
	paid := min(*x, *y)
	if ahead := paid - b.slack - now; ahead > 0 {
		return time.Duration(ahead)
	}
	paid = max(paid, now) + b.step
	*x, *y = max(*x, paid), max(*y, paid)
	return 0
}
