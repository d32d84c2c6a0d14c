package kicktest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// code is one as the dispatcher makes them.
const code = "K7TQ2MXB"

// AnError stands, as [Outcome.Want], for an error that says nothing but that
// this target failed.
var AnError = errors.New("any error that says nothing but that this target failed") //nolint:staticcheck // ErrSomething would name one

// kinds are the error values that say more.
var kinds = []error{edition.ErrGone, edition.ErrForbidden, edition.ErrTooMany, edition.ErrUnavailable}

func kick(ctx context.Context, s Subject, targets ...json.RawMessage) []error {
	kicks, errs := make([]driver.Kick, len(targets)), make([]error, len(targets))
	for i, target := range targets {
		kicks[i].Target = target
	}
	s.Driver.Kick(ctx, kicks, errs)
	return errs
}

// arrive expects n kicks and no more.
func arrive(t *testing.T, s Subject, n int) {
	t.Helper()
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

func testOneAttempt(t *testing.T, s Subject) {
	const n = 5
	for i := range n {
		if err := kick(t.Context(), s, accept(t, s, i))[0]; err != nil {
			t.Fatalf("Kick: %v", err)
		}
	}
	arrive(t, s, n)
}

func testConfirm(t *testing.T, s Subject) {
	send := func(k driver.Kick) {
		errs := make([]error, 1)
		s.Driver.Kick(t.Context(), []driver.Kick{k}, errs)
		if errs[0] != nil {
			t.Fatalf("Kick: %v", errs[0])
		}
	}
	send(driver.Kick{Target: accept(t, s, 0)})
	arrive(t, s, 1)
	if s.Sent != nil && strings.Contains(s.Sent(), code) {
		t.Fatalf("a code that nobody gave: %s", s.Sent())
	}
	send(driver.Kick{Target: accept(t, s, 1), Confirm: code})
	arrive(t, s, 2)
	if s.Sent != nil && !until(func() bool { return strings.Contains(s.Sent(), code) }) {
		t.Errorf("the code %s is not in what arrived: %s", code, s.Sent())
	}
}

// testBatch mixes targets that were stored by something else among good ones.
func testBatch(t *testing.T, s Subject) {
	kick(t.Context(), s) // of nobody
	bad := garbage()
	var targets []json.RawMessage
	good := 0
	for i := range 100 {
		if i%3 == 0 {
			targets = append(targets, bad[i%len(bad)])
		} else {
			targets = append(targets, accept(t, s, i))
			good++
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
	arrive(t, s, good)
}

// testGreatest hands over as many kicks as the dispatcher ever does at once.
func testGreatest(t *testing.T, s Subject) {
	targets := make([]json.RawMessage, 256)
	for i := range targets {
		targets[i] = accept(t, s, i)
	}
	for i, err := range kick(t.Context(), s, targets...) {
		if err != nil {
			t.Fatalf("target %d, %s: %v", i, targets[i], err)
		}
	}
	arrive(t, s, len(targets))
}

// testOutcomes kicks each by itself, then all in one batch with a good one
// between any two: what one is answered is not held against another.
func testOutcomes(t *testing.T, s Subject) {
	targets := make([]json.RawMessage, 0, 2*len(s.Outcomes))
	for i, o := range s.Outcomes {
		target := acceptRaw(t, s, o.Target)
		o.check(t, kick(t.Context(), s, target)[0])
		targets = append(targets, target, accept(t, s, i))
	}
	for i, err := range kick(t.Context(), s, targets...) {
		switch {
		case i%2 == 0:
			s.Outcomes[i/2].check(t, err)
		case err != nil && !providerFails(s.Outcomes):
			t.Errorf("a good target in a batch with others: %v", err)
		}
	}
}

// providerFails: then others in the same batch may fail too.
func providerFails(all []Outcome) bool {
	for _, o := range all {
		if errors.Is(o.Want, edition.ErrUnavailable) {
			return true
		}
	}
	return false
}

func (o Outcome) check(t *testing.T, err error) {
	t.Helper()
	switch {
	case o.Want == nil:
		if err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
	case errors.Is(o.Want, AnError):
		if err == nil {
			t.Errorf("%s: sent", o.Name)
		}
		for _, kind := range kinds {
			if errors.Is(err, kind) {
				t.Errorf("%s: %v, which is %q", o.Name, err, kind)
			}
		}
	case !errors.Is(err, o.Want):
		t.Errorf("%s: %v, want %v", o.Name, err, o.Want)
	}
	if o.Retry == 0 {
		return
	}
	if r, ok := errors.AsType[*edition.RetryError](err); !ok || r.After != o.Retry {
		t.Errorf("%s: %v says to come back after %v, want %v", o.Name, err, r, o.Retry)
	}
}

func testContext(t *testing.T, s Subject) {
	if s.Stuck == nil {
		return
	}
	target := acceptRaw(t, s, s.Stuck)
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
				raw := s.Good(g*10 + i)
				target, err := s.Driver.Check(raw, s.From, s.Size)
				if err == nil {
					_, err = s.Driver.Show(driver.Kick{Target: target})
				}
				if err == nil {
					err = kick(t.Context(), s, target)[0]
				}
				if err != nil {
					t.Errorf("goroutine %d: %s: %v", g, raw, err)
				}
			}
		})
	}
	wg.Wait()
	arrive(t, s, 80)
}
