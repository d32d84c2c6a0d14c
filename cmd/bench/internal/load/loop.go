package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Result is what a loop did.
type Result struct {
	Events  int // PUTs answered with 200 or 202
	Elapsed time.Duration
}

// Rate returns events a second.
func (r Result) Rate() float64 { return float64(r.Events) / r.Elapsed.Seconds() }

// Closed lets n publishers PUT, each as soon as its last PUT is answered, for
// a duration, and each once at least. next says what a publisher sends as its
// i-th PUT.
func Closed(ctx context.Context, addr string, n int, d time.Duration, next func(publisher, i int) (path []byte, version uint64)) (Result, error) {
	start := time.Now()
	return publish(ctx, addr, n, d, func(ctx context.Context, publisher int, put putFunc) error {
		for i := 0; ctx.Err() == nil; i++ {
			if err := put(next(publisher, i)); err != nil {
				return err
			}
			if time.Since(start) >= d {
				break
			}
		}
		return nil
	})
}

// Open PUTs at a fixed rate for a duration, whether or not earlier PUTs have
// been answered, over n connections. next says what to send as the i-th PUT,
// which was due at a time; when all connections are busy it is sent later.
func Open(ctx context.Context, addr string, n, rate int, d time.Duration, next func(i int, due time.Time) (path []byte, version uint64)) (Result, error) {
	type tick struct {
		i   int
		due time.Time
	}
	total := int(d.Seconds() * float64(rate))
	ticks := make(chan tick, total)
	go func() {
		defer close(ticks)
		start := time.Now()
		pace(ctx, total, func(i int) time.Time {
			return start.Add(time.Duration(float64(i) / float64(rate) * float64(time.Second)))
		}, func(i int, due time.Time) { ticks <- tick{i, due} })
	}()
	return publish(ctx, addr, n, d, func(_ context.Context, _ int, put putFunc) error {
		for t := range ticks {
			if err := put(next(t.i, t.due)); err != nil {
				return err
			}
		}
		return nil
	})
}

type putFunc func(path []byte, version uint64) error

// ioTimeout ends a loop whose server hangs.
const ioTimeout = time.Minute

// publish runs n publishers, each with a connection, for a duration, and counts.
func publish(parent context.Context, addr string, n int, d time.Duration, loop func(ctx context.Context, publisher int, put putFunc) error) (Result, error) {
	var events atomic.Int64
	start := time.Now()
	g, ctx := errgroup.WithContext(parent)
	for publisher := range n {
		g.Go(func() error {
			p, err := DialPutter(addr)
			if err != nil {
				return err
			}
			stop := context.AfterFunc(ctx, p.Close)
			defer func() { stop(); p.Close() }()
			if err := p.conn.SetDeadline(start.Add(d + ioTimeout)); err != nil {
				return err
			}
			done := 0
			defer func() { events.Add(int64(done)) }()
			return loop(ctx, publisher, func(path []byte, version uint64) error {
				status, err := p.Put(path, version)
				switch {
				case err != nil:
					return fmt.Errorf("PUT: %w", err)
				case status != http.StatusOK && status != http.StatusAccepted:
					return fmt.Errorf("a PUT was answered %d", status)
				}
				done++
				return nil
			})
		})
	}
	err := g.Wait()
	if cause := context.Cause(parent); cause != nil {
		err = cause // of what the publishers say
	}
	if err == nil && events.Load() == 0 {
		err = errors.New("nothing was published")
	}
	return Result{Events: int(events.Load()), Elapsed: time.Since(start)}, err
}
