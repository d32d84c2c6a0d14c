package patience

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience begins waits at all times: each lasts the limit, and a quarter
// more at most.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20 * time.Second
		p := New(t.Context(), limit)
		for range 100 {
			start := time.Now()
			ctx := p.From(start)
			go func() {
				<-ctx.Done()
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					t.Error(ctx.Err())
				}
				if took := time.Since(start); took < limit || took > limit+limit/4 {
					t.Errorf("a wait took %v", took)
				}
			}()
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(2 * limit)
	})
}
