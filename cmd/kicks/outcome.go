package kicks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

// word is the outcome of one attempt, as metrics and logs call it.
func word(err error) string {
	switch {
	case err == nil:
		return kickdrivers.Sent.String()
	case errors.Is(err, edition.ErrGone):
		return kickdrivers.Gone.String()
	case errors.Is(err, edition.ErrForbidden):
		return kickdrivers.Refused.String()
	case errors.Is(err, edition.ErrTooMany):
		return kickdrivers.RateLimited.String()
	}
	return kickdrivers.Failed.String()
}

// hint says what an outcome means, and what to do about it.
func hint(err error) string {
	again := ""
	if retry, ok := errors.AsType[*edition.RetryError](err); ok {
		again = fmt.Sprintf(", and asks to wait %v", retry.After.Round(time.Second))
	}
	switch {
	case err == nil:
		return "it is on its way; only the device can say whether it woke"
	case errors.Is(err, edition.ErrGone):
		return "this target will never work again, and the device has to register anew"
	case errors.Is(err, edition.ErrForbidden):
		return "the configuration does not allow this target"
	case errors.Is(err, edition.ErrTooMany):
		return "the provider holds kicks of this target back" + again
	case errors.Is(err, edition.ErrUnavailable):
		return "the provider failed, for whatever target" + again + "; look at the address, the credentials and the network"
	case errors.Is(err, context.DeadlineExceeded):
		return "there was no answer in time"
	}
	return "this target failed; a server or relay would try it again"
}

// failure gives an error of a kick its exit code.
func failure(err error) error {
	for _, e := range []struct {
		is   error
		code int
	}{
		{edition.ErrMalformed, exitMalformed},
		{edition.ErrGone, exitGone},
		{edition.ErrForbidden, exitRefused},
		{edition.ErrTooMany, exitProvider},
		{edition.ErrUnavailable, exitProvider},
	} {
		if errors.Is(err, e.is) {
			return exitError{err, e.code}
		}
	}
	return exitError{err, 1}
}
