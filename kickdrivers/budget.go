package kickdrivers

import (
	"hash/maphash"
	"sync"
	"time"
)

// budget limits the kicks that one target gets, however many devices name it.
// It is a table of fixed size and keeps no targets: a target owns two numbers,
// found by a keyed hash of what the driver calls its aim, and has budget left
// if either says so. Two targets meet in both only by a rare chance, which
// nobody outside can seek.
type budget struct {
	// Fixed after construction.
	step  int64 // nanoseconds that one kick costs
	slack int64 // how far a target may be ahead of its rate
	seed  maphash.Seed
	start time.Time

	mu   sync.Mutex
	paid []int64 // Guarded by mu. Up to when the kicks sent are paid for.
}

func newBudget(rate float64, burst, counters int) *budget {
	step := int64(float64(time.Second) / rate)
	return &budget{
		seed: maphash.MakeSeed(), start: time.Now(),
		step: step, slack: int64(burst-1) * step, paid: make([]int64, counters),
	}
}

// hash is what take knows a target by.
func (b *budget) hash(aim string) uint64 { return maphash.String(b.seed, aim) }

// takeAll charges one kick to each target and calls refused with those that
// have to wait, and for how long.
func (b *budget) takeAll(targets []uint64, refused func(n int, wait time.Duration)) {
	now := int64(time.Since(b.start))
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, h := range targets {
		if wait := b.take(h, now); wait > 0 {
			refused(n, wait)
		}
	}
}

func (b *budget) take(h uint64, now int64) (wait time.Duration) {
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
