package load

import (
	"context"
	"runtime"
	"syscall"
	"time"
)

// pace calls f for each i below total when it is due. It sleeps in a thread of
// its own, since the runtime's timers may be late by a millisecond, which is
// more than what is measured.
func pace(ctx context.Context, total int, due func(i int) time.Time, f func(i int, due time.Time)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := 0; i < total && ctx.Err() == nil; i++ {
		at := due(i)
		if d := time.Until(at); d > 0 {
			ts := syscall.NsecToTimespec(d.Nanoseconds())
			syscall.Nanosleep(&ts, nil) //nolint:errcheck // woken early: the next one is not late
		}
		f(i, at)
	}
}
