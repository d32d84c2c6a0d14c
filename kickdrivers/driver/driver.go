// Package driver is what a kick driver and the dispatcher share: the contract
// of a driver, what one kick is, and how a driver is told its secrets.
//
// It promises that a driver needs to know nothing else of its surroundings. It
// holds no policy: when and how often a kick is sent is the dispatcher's.
package driver

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
)

// Driver wakes devices in one way. Its methods may be called at once from many
// goroutines. Package kicktest defines the contract by its tests.
type Driver interface {
	// Check examines what a device says about itself when it registers and
	// returns what is to be stored: the target in the driver's own form, with
	// nothing in it that the driver does not use. from is the address that
	// the device connects from (it may be invalid: unknown), size the bytes
	// of its request: a kick must not be larger where the driver sends to an
	// address that the device has named. A target that the configuration does
	// not allow is ErrForbidden with a reason that names the rule, one that
	// makes no sense is ErrMalformed.
	Check(target json.RawMessage, from netip.Addr, size int) (json.RawMessage, error)
	// Aim names what a kick of this target hits: an address, a token, a
	// number. Targets with the same aim share one budget, whoever registered
	// them; so nothing that a device may vary at will without aiming
	// elsewhere goes into it. It is empty when the target cannot be read.
	Aim(target json.RawMessage) string
	// Show returns what Kick would send, as text for the operator's eyes:
	// where to, the headers, the body. It sends nothing, asks nobody, and
	// shows no secret. A target that cannot be read is ErrGone, one that the
	// configuration does not allow (any more) ErrForbidden, as from Kick.
	Show(k Kick) (string, error)
	// Kick makes one attempt for each kick, whose target Check has returned
	// under this or an earlier configuration, and sets errs[i], which comes
	// nil:
	//
	//	nil             the kick is on its way
	//	ErrGone         this target will never work again; forget the route
	//	ErrForbidden    the configuration no longer allows this target
	//	ErrTooMany      held back; a RetryError says for how long
	//	ErrUnavailable  the driver's provider failed, for whatever target;
	//	                some of these in a row open the breaker. A RetryError
	//	                says when the provider wants to be asked again
	//	another         this target failed; it is tried again later
	//
	// It returns when all is known, and soon after ctx ends.
	Kick(ctx context.Context, kicks []Kick, errs []error)
	// Close frees what the driver holds. No Kick runs by then.
	Close() error
}

// Kick is one attempt to wake one party.
type Kick struct {
	Target json.RawMessage // as Check returned it
	// Confirm, if not empty, is the code that the device has to repeat before
	// this route is used: 8 letters and digits. It travels in the kick in the
	// driver's own way.
	Confirm string
}

// Env is what surrounds a driver. The zero Env is usable.
type Env struct {
	Log *slog.Logger // nil: silent; see Logger
	// Receipt counts what a provider tells later about kicks that it took:
	// state is one of a few fixed words of the driver. nil: not counted.
	Receipt func(state string)
	// Through hands a request to wake a device to a relay that is connected
	// here, and returns its answer: wire.WakeRequest and wire.WakeResult as
	// JSON. nil where no relay can be.
	Through func(ctx context.Context, relay string, request json.RawMessage) (json.RawMessage, error)
}

// Logger is never nil.
func (e Env) Logger() *slog.Logger {
	if e.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Log
}

// Count is Receipt, if there is one.
func (e Env) Count(state string) {
	if e.Receipt != nil {
		e.Receipt(state)
	}
}
