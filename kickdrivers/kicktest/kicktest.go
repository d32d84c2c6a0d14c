// Package kicktest defines by tests what a kick driver is: each must pass Run.
// It promises to find a driver that panics on what devices or stores hold,
// sends more or less than one kick an attempt, mixes up the results of a
// batch, drops the code that confirms a route, shows a secret, aims at many
// things with one target or at one thing by many names, does not return, or
// leaves goroutines behind. It does not test what only that driver knows:
// which targets are allowed, what is sent.
package kicktest

import (
	"encoding/json"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// Targets is how many good targets, no two alike, a Subject must have.
const Targets = 300

// Subject is a driver that is ready to be tested, with its peer.
type Subject struct {
	Driver driver.Driver
	From   netip.Addr // where the device connects from
	Size   int        // of its request; default 1000
	// Good returns the i-th of Targets targets, as devices write them, that
	// are accepted and can be kicked, with no two alike.
	Good func(i int) json.RawMessage
	// Alike are other ways to write Good(0) that hit the same: one budget.
	Alike []json.RawMessage
	// Malformed and Forbidden are targets that Check refuses so.
	Malformed, Forbidden []json.RawMessage
	// Arrived returns how many kicks have arrived; nil when nobody can tell.
	Arrived func() int
	// Sent returns what has arrived as text, everything since the start; nil
	// when nobody can tell.
	Sent func() string
	// Secrets are texts that Show must not contain.
	Secrets []string
	// Outcomes are targets that Check accepts and whose kick has an answer of
	// its own.
	Outcomes []Outcome
	// Stuck, if not nil, is a target whose kick does not end by itself soon.
	Stuck json.RawMessage
}

// Outcome is what the driver makes of one answer of its peer.
type Outcome struct {
	Name   string // of the test
	Target json.RawMessage
	// Want is the error value that the kick's error must be, one of those of
	// driver.Driver; nil: the kick is sent. AnError stands for an error that
	// is none of those.
	Want error
	// Retry, if not zero, is what the error's RetryError must say.
	Retry time.Duration
}

// Run tests the drivers that open makes, each test with one of its own.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"good targets are accepted", testGood},
		{"bad targets are refused", testBad},
		{"aim", testAim},
		{"show", testShow},
		{"one attempt a kick", testOneAttempt},
		{"the code to confirm travels", testConfirm},
		{"results of a batch are not mixed up", testBatch},
		{"the greatest batch", testGreatest},
		{"outcomes", testOutcomes},
		{"a kick ends with its context", testContext},
		{"concurrent use", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Cleanup(func() { noneLeft(t, before) }) // last of all clean-ups
			s := open(t)
			if s.Size == 0 {
				s.Size = 1000
			}
			c.test(t, s)
			if err := s.Driver.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// Nobody returns an address of this machine, host and port, where nobody
// listens as long as the test runs. A port that was listened at and closed
// would soon be another test's; this one is a connection's, whose end is here.
func Nobody(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
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
