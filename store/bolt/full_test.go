package bolt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/edition-push/edition"
)

func counter(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	return testutil.ToFloat64(c)
}

// TestFull lets every commit fail for want of room, for a while.
func TestFull(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS} {
		t.Run(cause.Error(), func(t *testing.T) { testFull(t, &os.PathError{Op: "write", Path: "edition.db", Err: cause}) })
	}
	t.Run("growing the file", func(t *testing.T) { testFull(t, errors.New("file resize error: no space left on device")) })
}

func testFull(t *testing.T, cause error) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "edition.db")
	s, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var full atomic.Bool
	s.fault = func(stage string) error {
		if stage == "begin" && full.Load() {
			return cause
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	put := func(k edition.Key, v edition.Version) edition.Result {
		t.Helper()
		rs, err := s.Deliver(edition.Update{{Key: k, Version: v}}, edition.Delivery{}).Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return rs[0]
	}
	refused := func(r edition.Result) {
		t.Helper()
		if r.Outcome != edition.OutcomeFailed || !errors.Is(r.Err, edition.ErrUnavailable) {
			t.Fatalf("%+v", r)
		}
	}
	k, l := benchKey(1), benchKey(2)
	for _, k := range []edition.Key{k, l} {
		if err := s.Register(ctx, edition.Registration{Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	put(k, 5)

	full.Store(true)
	refused(put(l, 6)) // its commit fails
	refused(put(l, 9)) // it is refused at once
	if err := s.Register(ctx, edition.Registration{Key: benchKey(3)}); !errors.Is(err, edition.ErrUnavailable) {
		t.Fatal(err)
	}
	if err := s.Err(); !errors.Is(err, edition.ErrUnavailable) {
		t.Fatal(err)
	}
	// What is there is delivered and cleared, and answers as before.
	if r := put(k, 5); r.Outcome != edition.OutcomeStored {
		t.Fatalf("%+v", r)
	}
	u, err := s.Pending(nil, edition.Direct, k.UAID)
	if err != nil || len(u) != 1 {
		t.Fatal(u, err)
	}
	s.Sent(edition.Direct, u) // the count is checked
	if n, err := s.Ack(edition.Direct, u, edition.AckDelivered); err != nil || n.Cleared != 1 {
		t.Fatal(n, err)
	}
	if r := put(k, 5); r.Outcome != edition.OutcomeDelivered {
		t.Fatalf("%+v", r)
	}

	full.Store(false)
	for s.Err() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	if r := put(k, 8); r.Outcome != edition.OutcomeStored {
		t.Fatalf("%+v", r)
	}
	if r := put(l, 6); r.Outcome != edition.OutcomeStored {
		t.Fatalf("%+v", r)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = run(t, Options{Path: path})
	for k, v := range map[edition.Key]edition.Version{k: 8, l: 6} {
		if st, err := s.State(k); err != nil || st.Version != v || st.State != edition.StatePending {
			t.Error(st, err)
		}
	}
}

// TestBroken lets a commit fail in a way that leaves its outcome unknown.
func TestBroken(t *testing.T) {
	for _, stage := range []string{"begin", "end"} {
		t.Run(stage, func(t *testing.T) {
			s, err := Open(Options{Path: filepath.Join(t.TempDir(), "edition.db")})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			k := benchKey(1)
			var broken atomic.Bool
			s.fault = func(at string) error {
				if broken.Load() && at == stage {
					return syscall.EIO
				}
				return nil
			}
			done := make(chan error, 1)
			go func() { done <- s.Run(t.Context()) }()
			if err := s.Register(t.Context(), edition.Registration{Key: k}); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			for range 2 {
				rs, err := s.Deliver(edition.Update{{Key: k, Version: 1}}, edition.Delivery{}).Wait(t.Context())
				if err != nil || rs[0].Outcome != edition.OutcomeFailed || !errors.Is(rs[0].Err, edition.ErrDisk) {
					t.Fatal(rs, err)
				}
			}
			if err := <-done; !errors.Is(err, edition.ErrDisk) || !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			if err := s.Register(t.Context(), edition.Registration{Key: k}); !errors.Is(err, edition.ErrDisk) {
				t.Fatal(err)
			}
			if err := s.Err(); !errors.Is(err, edition.ErrDisk) {
				t.Fatal(err)
			}
		})
	}
}

// TestInterval finds that what is written is synced soon after, though nothing
// else comes.
func TestInterval(t *testing.T) {
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "edition.db"), Sync: SyncInterval, Interval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	synced := make(chan struct{}, 100)
	s.fault = func(stage string) error {
		if stage == "sync" {
			synced <- struct{}{}
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if err := s.Register(t.Context(), edition.Registration{Key: benchKey(1)}); err != nil {
		t.Fatal(err)
	}
	<-synced
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestStopped finds that nobody waits for ever when Run has ended.
func TestStopped(t *testing.T) {
	s, stop := run(t, Options{})
	k := benchKey(1)
	if err := s.Register(t.Context(), edition.Registration{Key: k}); err != nil {
		t.Fatal(err)
	}
	waiting := s.Deliver(edition.Update{{Key: k, Version: 1}}, edition.Delivery{Grace: time.Hour})
	stop()
	if rs, err := waiting.Wait(t.Context()); err != nil || rs[0].Outcome != edition.OutcomeStored {
		t.Error("the last commit did not take it:", rs, err)
	}
	rs, err := s.Deliver(edition.Update{{Key: k, Version: 2}}, edition.Delivery{}).Wait(t.Context())
	if err != nil || rs[0].Outcome != edition.OutcomeFailed || !errors.Is(rs[0].Err, edition.ErrUnavailable) {
		t.Error(rs, err)
	}
	if err := s.Register(t.Context(), edition.Registration{Key: k}); !errors.Is(err, edition.ErrUnavailable) {
		t.Error(err)
	}
}

// TestStoppedMeanwhile ends a store while calls are under way that have found it
// running: they are told, and do not wait for a commit that never comes.
func TestStoppedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edition.db")
	const n = 2 * groupSize
	err := Bulk(path, n, func(i int) (edition.Agent, edition.Key, edition.Version) { return edition.Agent{}, benchKey(i), 1 })
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	meanwhile := func(edition.Routes) edition.Routes {
		go s.stop(errClosed) // it waits for the shard, after it has closed the queue
		wait(t, "the end", func() bool {
			s.queue.mu.Lock()
			defer s.queue.mu.Unlock()
			return s.queue.closed
		})
		return edition.Routes{{Driver: "udp", Target: []byte("1")}}
	}
	err = s.ChangeRoutes(t.Context(), edition.Holder{UAID: benchKey(0).UAID}, meanwhile)
	if !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a change: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s, stop := run(t, Options{Path: path})
	u := make(edition.Update, n)
	for i := range u {
		u[i].Key = benchKey(i)
	}
	u = u.Normalize()
	done := make(chan error)
	go func() {
		for v := edition.Version(2); ; v++ {
			for i := range u {
				u[i].Version = v
			}
			rs, err := s.Deliver(u, edition.Delivery{}).Wait(t.Context())
			for _, r := range rs {
				if r.Outcome == edition.OutcomeFailed {
					done <- r.Err
					return
				}
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	stop()
	if err := <-done; !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a large delivery: %v", err)
	}
}
