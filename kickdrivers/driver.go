package kickdrivers

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"

	"github.com/edition-push/edition"
)

// Driver wakes devices in one way. Its methods may be called at once from many
// goroutines. Package kicktest defines the contract by its tests.
type Driver interface {
	// Check examines what a device says about itself when it registers and
	// returns what is to be stored: the target in the driver's own form, with
	// nothing in it that the driver does not use. from is the address that
	// the device connects from (it may be invalid: unknown), size the bytes
	// of its request: a kick must not be larger. A target that the
	// configuration does not allow is ErrForbidden with a reason that names
	// the rule, one that makes no sense is ErrMalformed.
	Check(target json.RawMessage, from netip.Addr, size int) (json.RawMessage, error)
	// Kick makes one attempt for each target, which Check has returned under
	// this or an earlier configuration, and sets errs[i], which comes nil:
	//
	//	nil             the kick is on its way
	//	ErrGone         this target will never work again; forget the route
	//	ErrForbidden    the configuration no longer allows this target
	//	ErrTooMany      held back by a budget; RetryAfter says for how long
	//	ErrUnavailable  the driver's provider failed, for whatever target;
	//	                some of these in a row open the breaker
	//	another         this target failed; it is tried again later
	//
	// It returns when all is known, and soon after ctx ends.
	Kick(ctx context.Context, targets []json.RawMessage, errs []error)
	// Close frees what the driver holds. No Kick runs by then.
	Close() error
}

// Outcome says what became of a kick: the word in logs and metrics.
type Outcome uint8

// The outcomes. The first five are those of one attempt.
const (
	Sent        Outcome = iota // on its way
	Gone                       // the target no longer exists; its route is forgotten
	Refused                    // the configuration no longer allows it
	Failed                     // this attempt failed; tried again later
	RateLimited                // had to wait for the driver's rate, or for the target's budget
	BreakerOpen                // no kick: the provider fails, and all kicks wait
	GaveUp                     // still pending after give_up; waits for a new event
	Answered                   // the party connected after a kick
	Unanswered                 // it had not when the next attempt was due
	outcomes
)

// String returns the word used in logs and metrics.
func (o Outcome) String() string {
	return [outcomes]string{
		"sent", "gone", "refused", "failed", "rate_limited", "breaker_open", "gave_up", "answered", "unanswered",
	}[o]
}

// outcomeOf classifies what a driver says about an attempt.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Sent
	case errors.Is(err, edition.ErrGone):
		return Gone
	case errors.Is(err, edition.ErrForbidden):
		return Refused
	case errors.Is(err, edition.ErrTooMany):
		return RateLimited
	}
	return Failed
}
