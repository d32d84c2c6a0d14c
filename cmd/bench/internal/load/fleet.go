package load

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Target is one endpoint and the device behind it.
type Target struct {
	Path []byte // of the PUT
	// The device answers an UPDATE with ReplyHead, the version and ReplyTail;
	// with ReplyHead alone when ReplyTail is nil.
	ReplyHead, ReplyTail []byte

	due     atomic.Int64  // of the PUT with version, as time since the fleet's start
	version atomic.Uint64 // last PUT
	seen    atomic.Uint64 // greatest version that the device received
}

// Fleet is a number of connected devices.
type Fleet struct {
	// Fixed after construction.
	targets []Target
	start   time.Time
	first   uint64 // lowest version

	latency atomic.Pointer[Latency]
	next    atomic.Uint64
	failed  chan error // the first failure of a device

	mu      sync.Mutex
	devices []*Device // Guarded by mu.
	closing bool      // Guarded by mu.
	readers sync.WaitGroup
}

// NewFleet returns a fleet with nobody connected. Versions rise from the time
// of day, so that a store may be used by one fleet after another.
func NewFleet(targets []Target) *Fleet {
	f := &Fleet{targets: targets, start: time.Now(), failed: make(chan error, 1)}
	f.first = uint64(f.start.UnixMicro())
	f.next.Store(f.first)
	f.latency.Store(NewLatency())
	return f
}

// Connect dials every device, some at a time, and has them listen. It returns
// how long the dialling took. progress is called with each.
func (f *Fleet) Connect(ctx context.Context, atOnce int, dial func(i int) (*Device, error), progress func()) (time.Duration, error) {
	f.devices = make([]*Device, len(f.targets))
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range f.targets {
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if f.devices[i], err = dial(i); err != nil {
				return fmt.Errorf("device %d: %w", i, err)
			}
			progress()
			return nil
		})
	}
	err := g.Wait()
	took := time.Since(start)
	if err != nil {
		f.Close()
		return 0, err
	}
	for i, d := range f.devices {
		f.readers.Go(func() { f.listen(i, d) })
	}
	return took, nil
}

// listen answers every UPDATE until the device is closed.
func (f *Fleet) listen(i int, d *Device) {
	err := f.answer(i, d)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return
	}
	select {
	case f.failed <- fmt.Errorf("device %d: %w", i, err):
	default:
	}
}

// answer never returns nil.
func (f *Fleet) answer(i int, d *Device) error {
	t := &f.targets[i]
	reply := make([]byte, 0, len(t.ReplyHead)+len(t.ReplyTail)+20)
	for {
		msg, err := d.Read()
		if err != nil {
			return err
		}
		now := time.Since(f.start)
		v, err := lastNumber(msg)
		if err != nil {
			return err
		}
		if due := t.due.Load(); t.version.Load() == v && t.seen.Load() < v {
			f.latency.Load().Add(i, now-time.Duration(due))
		}
		t.seen.Store(max(v, t.seen.Load()))
		reply = append(reply[:0], t.ReplyHead...)
		if t.ReplyTail != nil {
			reply = append(strconv.AppendUint(reply, v, 10), t.ReplyTail...)
		}
		if err := d.Write(reply); err != nil {
			return err
		}
	}
}

// Closed has n publishers PUT to one device after another, see the function
// Closed, and waits until all have it.
func (f *Fleet) Closed(ctx context.Context, addr string, n int, d time.Duration) (Result, *Latency, error) {
	n = min(n, len(f.targets)) // one publisher to a device: its versions rise
	return f.run(ctx, func(ctx context.Context) (Result, error) {
		return Closed(ctx, addr, n, d, func(publisher, i int) ([]byte, uint64) {
			mine := (len(f.targets) - publisher + n - 1) / n // targets of this publisher
			return f.put(publisher+i%mine*n, time.Now())
		})
	})
}

// Open has PUTs sent at a fixed rate, see the function Open, and waits until
// all have arrived. Times count from when the PUT was due.
func (f *Fleet) Open(ctx context.Context, addr string, n, rate int, d time.Duration) (Result, *Latency, error) {
	return f.run(ctx, func(ctx context.Context) (Result, error) {
		return Open(ctx, addr, n, rate, d, func(i int, due time.Time) ([]byte, uint64) {
			return f.put(i%len(f.targets), due)
		})
	})
}

// put notes what is about to be sent to a target.
func (f *Fleet) put(i int, due time.Time) ([]byte, uint64) {
	t := &f.targets[i]
	v := f.next.Add(1)
	t.due.Store(int64(due.Sub(f.start)))
	t.version.Store(v)
	return t.Path, v
}

func (f *Fleet) run(ctx context.Context, loop func(context.Context) (Result, error)) (Result, *Latency, error) {
	latency := NewLatency()
	f.latency.Store(latency)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case err := <-f.failed:
			cancel(err)
			select {
			case f.failed <- err: // the next run fails too
			default:
			}
		case <-done:
		}
	}()
	r, err := loop(ctx)
	if err == nil {
		err = f.awaitAll(ctx)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r, latency, err
}

// arrivalTime is what an UPDATE may need after the last PUT was answered.
const arrivalTime = time.Minute

// awaitAll waits until every device has the last version PUT to it.
func (f *Fleet) awaitAll(ctx context.Context) error {
	deadline := time.Now().Add(arrivalTime)
	for {
		missing := 0
		for i := range f.targets {
			if t := &f.targets[i]; t.seen.Load() < t.version.Load() {
				missing++
			}
		}
		switch {
		case missing == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d devices did not get their last version within %v", missing, len(f.targets), arrivalTime)
		}
		time.Sleep(time.Millisecond)
	}
}

// Close closes all connections and waits for their readers.
func (f *Fleet) Close() {
	f.mu.Lock()
	f.closing = true
	for _, d := range f.devices {
		if d != nil {
			d.Close()
		}
	}
	f.mu.Unlock()
	f.readers.Wait()
}
