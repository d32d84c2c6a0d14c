package client

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/edition-push/edition"
)

func count(c prometheus.Collector) float64 { return testutil.ToFloat64(c) }

// TestRetrySpreads asserts that a fleet which lost its server together comes
// back spread over the whole range of each pause.
func TestRetrySpreads(t *testing.T) {
	const fleet = 2000
	lost := fault(ReasonClosed, "gone")
	var first, tenth [10]int
	for range fleet {
		r := newRetry(30 * time.Second)
		var d time.Duration
		for i := range 10 {
			d = r.next(lost, 0)
			if i == 0 {
				first[min(9, int(d*10/(2*retryMin)))]++
			}
			if d < 0 || d > time.Minute+time.Millisecond {
				t.Fatalf("pause %v", d)
			}
		}
		tenth[min(9, int(d*10/time.Minute))]++
	}
	for i := range 10 {
		if first[i] < fleet/20 || tenth[i] < fleet/20 {
			t.Errorf("a tenth of the range got few of %d: first pause %v, tenth %v", fleet, first, tenth)
			break
		}
	}
}

func TestRetryHonoursUpstream(t *testing.T) {
	said := func(d time.Duration) error {
		return &Error{Reason: ReasonRestart, Err: edition.RetryAfter(edition.ErrUnavailable, d)}
	}
	for _, c := range []struct {
		err      error
		min, max time.Duration
	}{
		{said(10 * time.Second), 10 * time.Second, 14 * time.Second},
		{said(48 * time.Hour), time.Hour, 76 * time.Minute},
		{fault(ReasonReplaced, "x"), replacedPause / 2, 2 * replacedPause},
		{fault(ReasonDial, "x"), 0, 2 * retryMin},
	} {
		for range 100 {
			if d := newRetry(30*time.Second).next(c.err, 0); d < c.min || d > c.max {
				t.Errorf("%v: pause %v, want %v to %v", c.err, d, c.min, c.max)
			}
		}
	}
}

func TestRetryStartsOver(t *testing.T) {
	r := newRetry(30 * time.Second)
	for range 20 {
		r.next(nil, time.Second)
	}
	if d := r.next(nil, stable); d > 2*retryMin+time.Millisecond {
		t.Errorf("pause %v after a stable connection", d)
	}
}
