package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/wire"
)

// start has a kick sent for a caller whose rate has been charged.
func (g *Gateway) start(c *caller, req wire.WakeRequest, size int) (*kick, error) {
	if err := checkRequest(&req); err != nil {
		return nil, err
	}
	wake := kickdrivers.Wake{Confirm: req.Confirm, Allow: c.mayUse}
	var err error
	if req.UAID != nil {
		wake.Who = edition.Holder{UAID: *req.UAID}
		wake.Routes, err = g.own(c, wake.Who)
	} else {
		wake.Routes, err = g.explicit(c, &req, size)
	}
	if err != nil {
		return nil, err
	}
	k := g.kept.add(c)
	byUAID := req.UAID != nil
	wake.Report = func(r kickdrivers.Result) { g.report(k, r, byUAID) }
	if err := g.kicks.Wake(wake); err != nil {
		g.kept.remove(k)
		return nil, err
	}
	return k, nil
}

// own finds out whether a caller may have a device woken in the ways that it
// has told. It returns those that may be used, or none where all may: then the
// dispatcher does with them as it always does.
func (g *Gateway) own(c *caller, who edition.Holder) (edition.Routes, error) {
	all, err := g.routes(who)
	if err != nil {
		return nil, err
	}
	usable := slices.DeleteFunc(slices.Clone(all), func(r edition.Route) bool { return !r.Usable() })
	if len(usable) == 0 {
		return nil, fmt.Errorf("%w: this device has told no way to be woken, or none that can be used", edition.ErrNotFound)
	}
	n := len(usable)
	mine := slices.DeleteFunc(usable, func(r edition.Route) bool { return !c.mayUse(r.Driver) || !c.mayReach(r.Target) })
	switch len(mine) {
	case 0:
		return nil, fmt.Errorf("%w: this device is woken in ways that this caller may not use", edition.ErrForbidden)
	case n:
		return nil, nil
	}
	return mine, nil
}

// explicit returns the routes of a request that names them.
func (g *Gateway) explicit(c *caller, req *wire.WakeRequest, size int) (edition.Routes, error) {
	names, err := driversOf(req.Kick)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !c.mayUse(name) {
			return nil, fmt.Errorf("%w: driver %.40q is not one that this caller may use", edition.ErrForbidden, name)
		}
	}
	routes, err := g.kicks.Check(req.Kick, req.From, size)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		switch {
		case !c.mayUse(r.Driver):
			return nil, fmt.Errorf("%w: driver %.40q is not one that this caller may use", edition.ErrForbidden, r.Driver)
		case !c.mayReach(r.Target):
			return nil, fmt.Errorf("%w: the target lies outside the networks of this caller", edition.ErrForbidden)
		case r.Confirm != "" && !c.Confirmed:
			return nil, fmt.Errorf("%w: routes of driver %s have to be confirmed, and are not for a caller to name", edition.ErrForbidden, r.Driver)
		}
	}
	return routes, nil
}

// report notes what has become of a kick. What a driver says about a target
// that the caller has not named stays here.
func (g *Gateway) report(k *kick, r kickdrivers.Result, byUAID bool) {
	g.m.outcomes.WithLabelValues(k.caller.Name, r.Outcome.String()).Inc()
	result := wire.WakeResult{Outcome: r.Outcome.String(), Driver: r.Driver}
	if r.Err != nil && !byUAID {
		result.Detail = r.Err.Error()
	}
	if retry, ok := errors.AsType[*edition.RetryError](r.Err); ok {
		result.RetryAfter = seconds(retry.After)
	}
	k.report(result, r.Final)
}

func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

// Wake has one kick sent for an upstream, over whose connection the request
// came, and returns the outcome of the attempt. It waits for that until ctx
// ends.
func (g *Gateway) Wake(ctx context.Context, req wire.WakeRequest) wire.WakeResult {
	result, err := g.wake(ctx, req)
	if err != nil {
		result = resultOf(err)
		g.log.Debug("an upstream's kick is refused", "err", err)
		g.m.requests.WithLabelValues(g.upstream.Name, reasonOf(err)).Inc()
		return result
	}
	g.m.requests.WithLabelValues(g.upstream.Name, accepted).Inc()
	return result
}

func (g *Gateway) wake(ctx context.Context, req wire.WakeRequest) (wire.WakeResult, error) {
	c := g.upstream
	if g.draining.Load() {
		return wire.WakeResult{}, errDraining
	}
	if len(c.Drivers) == 0 {
		return wire.WakeResult{}, fmt.Errorf("%w: an upstream may not have devices woken here", edition.ErrForbidden)
	}
	if err := c.take(); err != nil {
		return wire.WakeResult{}, err
	}
	text, err := json.Marshal(req)
	if err != nil {
		return wire.WakeResult{}, fmt.Errorf("%w: %w", edition.ErrMalformed, err)
	}
	if len(text) > maxBody {
		return wire.WakeResult{}, fmt.Errorf("%w: a request has at most %d bytes", edition.ErrTooLarge, maxBody)
	}
	k, err := g.start(c, req, len(text))
	if err != nil {
		return wire.WakeResult{}, err
	}
	select {
	case <-k.reported:
	case <-ctx.Done():
	}
	g.kept.remove(k) // nobody can ask for it by its id
	if s := k.state(); s.Outcome != "" {
		return s.WakeResult, nil
	}
	return wire.WakeResult{Outcome: kickdrivers.Failed.String(), Detail: "no outcome in the time given"}, nil
}

// resultOf says in the words of an outcome why a kick was not sent.
func resultOf(err error) wire.WakeResult {
	r := wire.WakeResult{Outcome: kickdrivers.Failed.String(), Detail: err.Error()}
	switch {
	case errors.Is(err, edition.ErrMalformed), errors.Is(err, edition.ErrForbidden), errors.Is(err, edition.ErrTooLarge):
		r.Outcome = kickdrivers.Refused.String()
	case errors.Is(err, edition.ErrTooMany):
		r.Outcome = kickdrivers.RateLimited.String()
	}
	if retry, ok := errors.AsType[*edition.RetryError](err); ok {
		r.RetryAfter = seconds(retry.After)
	}
	return r
}
