package edition

import (
	"context"
	"sync/atomic"
)

// Outcome says what became of one delivered event.
type Outcome uint8

// The outcomes of an event.
const (
	// OutcomeStored: the version, or a greater one, is durable and pending.
	OutcomeStored Outcome = iota + 1
	// OutcomeDelivered: a device has acknowledged this version or a greater one.
	OutcomeDelivered
	// OutcomeGone: the app is not registered, or its registration expired.
	OutcomeGone
	// OutcomeRefused: the UAID was never registered here (see
	// [Delivery.Adopt]); with Err, not through this upstream.
	OutcomeRefused
	// OutcomeFailed: not kept, or not known to be; Result.Err says why.
	OutcomeFailed
)

// String returns the word used in answers, logs and metrics.
func (o Outcome) String() string {
	return [...]string{"none", "stored", "delivered", "gone", "refused", "failed"}[o]
}

// Result is the outcome of one event.
type Result struct {
	Outcome Outcome
	// Superseded: Version is a greater, pending one, not the event's own.
	Superseded bool
	// Version that the answer names.
	Version Version
	// Err of OutcomeFailed: ErrUnavailable when nothing was kept and a retry
	// may work, ErrDisk when the outcome is unknown.
	Err error
}

// Receipt follows one delivery to its end. The store that made it resolves
// each result once, when its commit has synced or the device's ack has
// overtaken it.
type Receipt struct {
	// Fresh lists who has something new to be sent: ring or kick them. It is
	// complete when Deliver returns and not changed afterwards.
	Fresh []Holder

	results []Result
	left    atomic.Int32
	done    chan struct{}

	oneResult [1]Result
	oneFresh  [1]Holder
}

// NewReceipt makes a receipt for n events.
func NewReceipt(n int) *Receipt {
	r := &Receipt{done: make(chan struct{})}
	if n == 1 {
		r.results, r.Fresh = r.oneResult[:], r.oneFresh[:0]
	} else {
		r.results = make([]Result, n)
	}
	if n == 0 {
		close(r.done)
	}
	r.left.Store(int32(n))
	return r
}

// Resolve sets result i. For stores; exactly once for each i.
func (r *Receipt) Resolve(i int, res Result) {
	r.results[i] = res
	if r.left.Add(-1) == 0 {
		close(r.done)
	}
}

// Done is closed when every result is there.
func (r *Receipt) Done() <-chan struct{} { return r.done }

// Wait returns the results, in the order of the update's events, when all are
// known, or ctx's cause. Of a receipt that is done it returns the results even
// when ctx has ended. The slice is the receipt's own.
func (r *Receipt) Wait(ctx context.Context) ([]Result, error) {
	select {
	case <-r.done:
		return r.results, nil
	default:
	}
	select {
	case <-r.done:
		return r.results, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
