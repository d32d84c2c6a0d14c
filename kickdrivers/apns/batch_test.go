package apns

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

// TestEach calls for each index once, within the slots of all.
func TestEach(t *testing.T) {
	s := make(slots, 5)
	var now, most, calls atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			seen := make([]atomic.Int32, 100)
			s.each(t.Context(), len(seen), func(i int) {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				seen[i].Add(1)
				calls.Add(1)
				now.Add(-1)
			})
			for i := range seen {
				if n := seen[i].Load(); n != 1 {
					t.Errorf("%d calls for %d", n, i)
				}
			}
		})
	}
	wg.Wait()
	s.each(t.Context(), 0, func(int) { t.Error("a call for nothing") })
	if most.Load() > 5 || calls.Load() != 800 || len(s) != 0 {
		t.Errorf("%d at once, %d calls, %d slots not given back", most.Load(), calls.Load(), len(s))
	}
}

// TestEachCancelled calls for the rest at once when the context ends while
// somebody else has all slots.
func TestEachCancelled(t *testing.T) {
	s := make(slots, 1)
	s <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var calls atomic.Int32
	s.each(ctx, 10, func(int) { calls.Add(1) })
	if calls.Load() != 10 {
		t.Errorf("%d calls, want 10", calls.Load())
	}
}
