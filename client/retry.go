package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/edition-push/edition"
)

const (
	stable        = 30 * time.Second // a connection that lived this long starts the backoff over
	replacedPause = 20 * time.Second // mean; two copies of one client do not fight for their connection
	longestPause  = time.Hour        // whatever upstream says
)

// retry says how long to wait before the next attempt. Pauses are spread over
// their whole range, so that clients which lost their server together do not
// come back together.
type retry struct{ exp backoff.ExponentialBackOff }

// newRetry doubles the mean pause up to longest; a pause is 0 to 2 means.
func newRetry(longest time.Duration) *retry {
	r := &retry{backoff.ExponentialBackOff{
		InitialInterval: min(retryMin, longest), RandomizationFactor: 1, Multiplier: 2, MaxInterval: longest,
	}}
	r.exp.Reset()
	return r
}

// next returns the pause after err ended an attempt that was connected for
// lived. What upstream said about when to come back is a lower bound.
func (r *retry) next(err error, lived time.Duration) time.Duration {
	if lived >= stable {
		r.exp.Reset()
	}
	pause := r.exp.NextBackOff()
	if ReasonOf(err) == ReasonReplaced {
		pause = max(pause, spread(replacedPause))
	}
	if said, ok := errors.AsType[*edition.RetryError](err); ok {
		after := min(said.After, longestPause)
		pause = max(pause, after+rand.N(after/4+time.Second))
	}
	return pause
}

// spread returns a pause from half to one and a half of d.
func spread(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

// around returns a pause within a tenth of d.
func around(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
