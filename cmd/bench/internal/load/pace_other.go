//go:build !linux

package load

import (
	"context"
	"time"
)

// pace calls f for each i below total when it is due.
func pace(ctx context.Context, total int, due func(i int) time.Time, f func(i int, due time.Time)) {
	for i := 0; i < total && ctx.Err() == nil; i++ {
		at := due(i)
		time.Sleep(time.Until(at))
		f(i, at)
	}
}
