// Package kicktest defines by tests what a kick driver is: each must pass Run.
// It promises to find a driver that panics on what devices or stores hold,
// sends more or less than one kick an attempt, mixes up the results of a
// batch, does not return, or leaves goroutines behind. It does not test what
// only that driver knows: which targets are allowed, what is sent.
package kicktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// Driver is kickdrivers.Driver, where its contract stands.
type Driver interface {
	Check(target json.RawMessage, from netip.Addr, size int) (json.RawMessage, error)
	Kick(ctx context.Context, targets []json.RawMessage, errs []error)
	Close() error
}

// Subject is a driver that is ready to be tested.
type Subject struct {
	Driver Driver
	From   netip.Addr // where the device connects from
	Size   int        // of its request
	// Good returns the i-th of at least 100 targets, as devices write them,
	// that are accepted and can be kicked, with no two alike.
	Good func(i int) json.RawMessage
	// Malformed and Forbidden are targets that Check refuses so.
	Malformed, Forbidden []json.RawMessage
	// Arrived returns how many kicks have arrived; nil when nobody can tell.
	Arrived func() int
	// Stuck, if not nil, is a target whose kick does not end by itself soon.
	Stuck json.RawMessage
}

// Run tests the drivers that open makes.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"good targets are accepted", testGood},
		{"bad targets are refused", testBad},
		{"one attempt a kick", testOneAttempt},
		{"results of a batch are not mixed up", testBatch},
		{"a kick ends with its context", testContext},
		{"concurrent use", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Cleanup(func() { noneLeft(t, before) }) // last of all clean-ups
			s := open(t)
			c.test(t, s)
			if err := s.Driver.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// wait bounds what must happen, on the slowest machine.
const wait = 30 * time.Second

func until(cond func() bool) bool {
	for deadline := time.Now().Add(wait); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func noneLeft(t *testing.T, before int) {
	if !until(func() bool { return runtime.NumGoroutine() <= before }) {
		buf := make([]byte, 64<<10)
		t.Errorf("%d goroutines, %d before the test:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	}
}

// accept has a good target checked.
func accept(t *testing.T, s Subject, i int) json.RawMessage {
	t.Helper()
	target, err := s.Driver.Check(s.Good(i), s.From, s.Size)
	if err != nil {
		t.Fatalf("Check(%s): %v", s.Good(i), err)
	}
	return target
}

func testGood(t *testing.T, s Subject) {
	for i := range 3 {
		once, again := accept(t, s, i), accept(t, s, i)
		if string(once) != string(again) {
			t.Errorf("one target is stored as %s and as %s", once, again)
		}
		if !json.Valid(once) {
			t.Errorf("stored as %s, which is not JSON", once)
		}
		var padded map[string]any
		if err := json.Unmarshal(s.Good(i), &padded); err != nil {
			t.Fatalf("a good target that is no object: %v", err)
		}
		padded["driver"], padded["no_such_key"] = "any", []int{1, 2, 3}
		raw, err := json.Marshal(padded)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Driver.Check(raw, s.From, s.Size+len(raw))
		if err != nil || string(stored) != string(once) {
			t.Errorf("Check(%s) = %s, %v; want %s without what the driver does not use", raw, stored, err, once)
		}
	}
}

func testBad(t *testing.T, s Subject) {
	refuse := func(raw json.RawMessage, want error) {
		if got, err := s.Driver.Check(raw, s.From, s.Size); !errors.Is(err, want) || got != nil {
			t.Errorf("Check(%.80s) = %.80s, %v; want %v", raw, got, err, want)
		}
	}
	for _, raw := range s.Malformed {
		refuse(raw, edition.ErrMalformed)
	}
	for _, raw := range s.Forbidden {
		refuse(raw, edition.ErrForbidden)
	}
	for _, raw := range garbage() {
		refuse(raw, edition.ErrMalformed)
	}
}

// garbage is what no driver takes for a target.
func garbage() []json.RawMessage {
	good := `{"a":"b"}`
	all := []json.RawMessage{nil, {}, []byte("null"), []byte("[]"), []byte("7"), []byte(`""`), []byte("{}"), []byte("{}{}"), {0xff, 0xfe}}
	for i := range good {
		all = append(all, []byte(good[:i]))
	}
	return all
}

func testOneAttempt(t *testing.T, s Subject) {
	const n = 5
	for i := range n {
		if err := kick(t.Context(), s, accept(t, s, i))[0]; err != nil {
			t.Fatalf("Kick: %v", err)
		}
	}
	if s.Arrived == nil {
		return
	}
	if !until(func() bool { return s.Arrived() >= n }) {
		t.Fatalf("%d of %d kicks arrived", s.Arrived(), n)
	}
	time.Sleep(10 * time.Millisecond) // for a second attempt, were there one
	if got := s.Arrived(); got != n {
		t.Errorf("%d kicks arrived after %d attempts", got, n)
	}
}

func kick(ctx context.Context, s Subject, targets ...json.RawMessage) []error {
	errs := make([]error, len(targets))
	s.Driver.Kick(ctx, targets, errs)
	return errs
}

// testBatch mixes targets that were stored by something else among good ones.
func testBatch(t *testing.T, s Subject) {
	kick(t.Context(), s) // of nobody
	bad := garbage()
	var targets []json.RawMessage
	for i := range 100 {
		if i%3 == 0 {
			targets = append(targets, bad[i%len(bad)])
		} else {
			targets = append(targets, accept(t, s, i))
		}
	}
	for i, err := range kick(t.Context(), s, targets...) {
		switch {
		case i%3 == 0 && !errors.Is(err, edition.ErrGone):
			t.Errorf("target %d, %.40q, cannot be read: error %v, want ErrGone", i, targets[i], err)
		case i%3 != 0 && err != nil:
			t.Errorf("target %d, %s: %v", i, targets[i], err)
		}
	}
}

func testContext(t *testing.T, s Subject) {
	if s.Stuck == nil {
		return
	}
	target, err := s.Driver.Check(s.Stuck, s.From, s.Size)
	if err != nil {
		t.Fatalf("Check(%s): %v", s.Stuck, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() { errs <- kick(ctx, s, target)[0] }()
	select {
	case err := <-errs:
		t.Fatalf("Kick of a stuck target ended by itself: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	select {
	case err := <-errs:
		if err == nil {
			t.Error("a kick that was cut off is told as sent")
		}
	case <-time.After(wait):
		t.Fatal("Kick does not end with its context")
	}
}

func testConcurrent(t *testing.T, s Subject) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 10 {
				target, err := s.Driver.Check(s.Good(g*10+i), s.From, s.Size)
				if err == nil {
					err = kick(t.Context(), s, target)[0]
				}
				if err != nil {
					t.Error(fmt.Errorf("goroutine %d: %w", g, err))
				}
			}
		})
	}
	wg.Wait()
	if s.Arrived != nil && !until(func() bool { return s.Arrived() >= 80 }) {
		t.Errorf("%d of 80 kicks arrived", s.Arrived())
	}
}
