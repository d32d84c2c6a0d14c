package kickdrivers

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edition-push/edition"
)

// Wake is one kick now, apart from what is due.
type Wake struct {
	// Who is to be woken: a device, or a relay's Party; zero for a target
	// that belongs to nobody here.
	Who edition.Holder
	// Routes, if any, are used instead of Who's own: as they are, checked by
	// the caller. A code that they wait for is neither sent nor waited for.
	Routes edition.Routes
	// Confirm, if not empty, travels in the kick, see driver.Kick.
	Confirm string
	// Allow says which entries may be used; nil: all.
	Allow func(entry string) bool
	// Report is told what became of the kick: first the outcome of the last
	// attempt, then, if the kick was sent and Who is given, whether Who
	// connected (Answered, Unanswered). It is called from another goroutine,
	// one call at a time; the last call is Final. nil if nobody asks.
	Report func(Result)
}

// Result is what became of a Wake.
type Result struct {
	Driver  string // the entry that was used last
	Outcome Outcome
	Err     error // why it was not sent; an edition.RetryError says when to come back
	Final   bool
}

// errand is a kick that was asked for: a Wake, or the code of a route that
// waits for it. Guarded by Dispatcher.mu.
type errand struct {
	who    edition.Holder
	own    bool           // the routes are who's, as the store has them
	routes edition.Routes // that are left to try; the first is at hand
	code   string
	report func(Result)

	until  int64 // waits for its turn no longer
	sentBy *gate
	sentAt int64
	timer  *time.Timer // ends the wait for who
	told   []Result    // to be reported
	busy   bool        // somebody reports
}

const (
	// maxErrands bounds those that have not ended, maxQueued those that wait
	// at one gate.
	maxErrands, maxQueued = 16 << 10, 1 << 10
	// errandWait is how long an errand waits for its turn.
	errandWait = 10 * time.Second
	// answerWait is how long to wait for a party where next_after does not say.
	answerWait = 30 * time.Second
)

var (
	errNoRoute    = fmt.Errorf("%w: there is no way to wake it", edition.ErrNotFound)
	errNotAllowed = fmt.Errorf("%w: none of the drivers that could wake it may be used", edition.ErrForbidden)
	errBusy       = edition.RetryAfter(fmt.Errorf("%w: too many kicks wait for their turn", edition.ErrTooMany), time.Second)
)

// Wake makes one kick now. The routes are tried in order until one is sent.
// The driver's rate, its breaker and the target's budget hold; an errand waits
// for its turn 10 s at most. The error is ErrNotFound when there is no route
// that can be used, ErrForbidden when Allow allows none, ErrTooMany when too
// many wait, ErrUnavailable at the end of Run; then nothing is reported.
func (d *Dispatcher) Wake(w Wake) error {
	routes, own := w.Routes, false
	if len(routes) == 0 {
		var err error
		if routes, err = d.routes(w.Who); err != nil {
			return err
		}
		own = true
	}
	d.mu.Lock()
	byName, done := d.byName, d.done
	d.mu.Unlock()
	if done {
		return errEnds
	}
	e := &errand{who: w.Who, own: own, code: w.Confirm, report: w.Report}
	found := false
	for _, r := range routes {
		if byName[r.Driver] == nil || r.Target == nil || own && !r.Usable() {
			continue
		}
		found = true
		if w.Allow == nil || w.Allow(r.Driver) {
			e.routes = append(e.routes, r)
		}
	}
	switch {
	case !found:
		return errNoRoute
	case len(e.routes) == 0:
		return errNotAllowed
	}
	return d.send(e)
}

// Challenge kicks each route of a party that waits for a code with that code,
// once. It does not block on a driver.
func (d *Dispatcher) Challenge(who edition.Holder) {
	routes, err := d.routes(who)
	if err != nil {
		d.log.Warn("cannot read how to kick a party", "err", err)
		return
	}
	for _, r := range routes {
		if r.Confirm == "" || r.Target == nil {
			continue
		}
		err := d.send(&errand{who: who, own: true, routes: edition.Routes{r}, code: r.Confirm})
		if err != nil {
			d.log.Debug("a code cannot be sent", "driver", r.Driver, "uaid", who.UAID, "err", err)
		}
	}
}

// send has an errand wait at its first gate that has a place for it.
func (d *Dispatcher) send(e *errand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.done:
		return errEnds
	case d.open >= maxErrands:
		return errBusy
	}
	d.open++
	if r, placed := d.place(e, d.now()); !placed {
		if errors.Is(r.Err, errBusy) {
			d.open--
			return errBusy
		}
		d.finish(e, r)
	}
	return nil
}

// place puts an errand at the first gate that takes it. If none does, r says
// what the last one answered.
func (d *Dispatcher) place(e *errand, now int64) (r Result, placed bool) {
	for ; len(e.routes) > 0; e.routes = e.routes[1:] {
		name := e.routes[0].Driver
		g := d.byName[name]
		switch {
		case g == nil:
			r = Result{Driver: name, Outcome: Refused, Err: fmt.Errorf("%w: the driver is no longer configured", edition.ErrForbidden)}
		case g.down(now):
			after := time.Duration(max(g.until-now, int64(time.Second)))
			r = Result{Driver: name, Outcome: BreakerOpen, Err: edition.RetryAfter(fmt.Errorf("%w: the provider fails", edition.ErrUnavailable), after)}
		case len(g.errands) >= g.places():
			g.counts[RateLimited].add(1)
			r = Result{Driver: name, Outcome: RateLimited, Err: errBusy}
		default:
			e.until = now + int64(errandWait)
			g.errands = append(g.errands, e)
			d.ring()
			return Result{}, true
		}
	}
	return r, false
}

// places is how many errands may wait at a gate: no more than could have their
// turn in time.
func (g *gate) places() int {
	if g.policy.Rate == 0 {
		return maxQueued
	}
	return max(1, int(min(maxQueued, g.policy.Rate*errandWait.Seconds()/2)))
}

// goOn has an errand try its next route after the first was not sent.
func (d *Dispatcher) goOn(e *errand, r Result, now int64) {
	e.routes = e.routes[1:]
	if next, placed := d.place(e, now); placed {
		return
	} else if next.Err != nil {
		r = next
	}
	d.finish(e, r)
}

// expire goes on with the errands that have waited too long at a gate.
func (d *Dispatcher) expire(g *gate, now int64) {
	for len(g.errands) > 0 && g.errands[0].until <= now {
		e := g.errands[0]
		g.errands = g.errands[1:]
		g.counts[RateLimited].add(1)
		d.goOn(e, Result{Driver: g.name, Outcome: RateLimited, Err: errBusy}, now)
	}
}

// scatter goes on with all errands that wait at a gate: its breaker has
// opened, or it is no longer in the list.
func (d *Dispatcher) scatter(g *gate, now int64) {
	all := g.errands
	g.errands = nil
	for _, e := range all {
		if r, placed := d.place(e, now); !placed {
			d.finish(e, r)
		}
	}
}

// returned is told what a driver has made of an errand.
func (d *Dispatcher) returned(e *errand, g *gate, o Outcome, err error, at, now int64) {
	r := Result{Driver: g.name, Outcome: o, Err: err}
	switch {
	case o != Sent && d.done:
		d.finish(e, r)
	case o != Sent:
		d.goOn(e, r, now)
	case e.who == edition.Holder{} || e.report == nil:
		d.finish(e, r)
	default:
		d.tell(e, r)
		e.sentBy, e.sentAt = g, at
		if d.done {
			d.unanswered(e, errEnds)
			return
		}
		wait := g.policy.NextAfter
		if wait == 0 {
			wait = answerWait
		}
		party := e.who.Party()
		d.hopes[party] = append(d.hopes[party], e)
		e.timer = time.AfterFunc(wait, func() { d.giveUp(e) })
	}
}

// fulfil tells the errands that wait for a party that it has connected.
func (d *Dispatcher) fulfil(who edition.Holder, now int64) {
	all := d.hopes[who]
	delete(d.hopes, who)
	for _, e := range all {
		e.timer.Stop()
		e.sentBy.counts[Answered].add(1)
		e.sentBy.took.Observe(seconds(now - e.sentAt))
		d.finish(e, Result{Driver: e.sentBy.name, Outcome: Answered})
	}
}

// giveUp ends the wait for an errand's party.
func (d *Dispatcher) giveUp(e *errand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	party := e.who.Party()
	all := d.hopes[party]
	at := slices.Index(all, e)
	if at < 0 {
		return
	}
	if all = slices.Delete(all, at, at+1); len(all) == 0 {
		delete(d.hopes, party)
	} else {
		d.hopes[party] = all
	}
	d.unanswered(e, nil)
}

func (d *Dispatcher) unanswered(e *errand, err error) {
	if err == nil {
		e.sentBy.counts[Unanswered].add(1)
	}
	d.finish(e, Result{Driver: e.sentBy.name, Outcome: Unanswered, Err: err})
}

// endErrands ends those that wait for their turn or for a party. Those in a
// driver's hands end when they return.
func (d *Dispatcher) endErrands() {
	for _, g := range d.gates {
		for _, e := range g.errands {
			d.finish(e, Result{Driver: g.name, Outcome: Failed, Err: errEnds})
		}
		g.errands = nil
	}
	for _, all := range d.hopes {
		for _, e := range all {
			e.timer.Stop()
			d.unanswered(e, errEnds)
		}
	}
	clear(d.hopes)
}

// finish ends an errand.
func (d *Dispatcher) finish(e *errand, r Result) {
	d.open--
	r.Final = true
	d.tell(e, r)
}

// tell reports from a goroutine of its own, in order. It is not called any
// more once Run has seen its last flight end.
func (d *Dispatcher) tell(e *errand, r Result) {
	if e.report == nil {
		return
	}
	e.told = append(e.told, r)
	if e.busy {
		return
	}
	e.busy = true
	d.flights.Go(func() {
		d.mu.Lock()
		for len(e.told) > 0 {
			r := e.told[0]
			e.told = e.told[1:]
			d.mu.Unlock()
			e.report(r)
			d.mu.Lock()
		}
		e.busy = false
		d.mu.Unlock()
	})
}
