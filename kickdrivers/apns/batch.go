package apns

import (
	"context"
	"sync"
	"sync/atomic"
)

// slots bounds how many requests are under way: its capacity.
type slots chan struct{}

// each calls do with 0 … n-1 and returns when all have returned. There is a
// goroutine for every slot that it gets, which goes on to what comes next when
// it is done: at full load each makes several requests, and its stack grows
// once. When ctx ends, the rest is called without a slot: it should fail at
// once with that context.
func (s slots) each(ctx context.Context, n int, do func(i int)) {
	if n == 0 {
		return
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	defer workers.Wait()
	taken := make(chan struct{}) // closed with the last one
	take := func() (i int, ok bool) {
		i = int(next.Add(1)) - 1
		if i == n-1 {
			close(taken)
		}
		return i, i < n
	}
	work := func() {
		for i, ok := take(); ok; i, ok = take() {
			do(i)
		}
	}
	for {
		select {
		case s <- struct{}{}:
			workers.Go(func() {
				defer func() { <-s }()
				work()
			})
		case <-taken:
			return
		case <-ctx.Done():
			work()
			return
		}
	}
}
