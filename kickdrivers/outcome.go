package kickdrivers

import (
	"errors"

	"github.com/edition-push/edition"
)

// Outcome says what became of a kick: the word in logs and metrics.
type Outcome uint8

// The outcomes. The first five are those of one attempt.
const (
	Sent        Outcome = iota // on its way
	Gone                       // the target no longer exists; its route is forgotten
	Refused                    // the configuration no longer allows it
	Failed                     // this attempt failed; tried again later
	RateLimited                // had to wait for the driver's rate, for the target's budget, or for the provider
	BreakerOpen                // no kick: the provider fails, and all kicks wait
	GaveUp                     // still pending after give_up; waits for a new event
	Answered                   // the party connected after a kick
	Unanswered                 // it had not when the next attempt was due
	outcomes
)

var outcomeWords = [outcomes]string{
	"sent", "gone", "refused", "failed", "rate_limited", "breaker_open", "gave_up", "answered", "unanswered",
}

// String returns the word used in logs, metrics and answers.
func (o Outcome) String() string { return outcomeWords[o] }

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
