package kickdrivers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// shot is one kick of a batch: of a party that is due, or for an errand.
type shot struct {
	i     int32   // the party; none for an errand
	e     *errand // nil for a party
	who   edition.Holder
	route edition.Route
	leg   uint8         // of the party's list
	more  bool          // the list goes on behind it
	pause time.Duration // from the kick until the next round
}

// batch is what one goroutine hands to a driver at once.
type batch struct {
	gate   *gate
	budget *budget
	shots  []shot
	kicks  []driver.Kick
	errs   []error
	at     int64 // when it was handed over

	hashes []uint64 // of the targets
	free   []int    // the shots that the budget lets through, if not all
}

func (b *batch) reset(g *gate) {
	clear(b.shots)
	clear(b.kicks)
	clear(b.errs)
	b.gate, b.budget = g, g.budget
	b.shots, b.kicks, b.errs = b.shots[:0], b.kicks[:0], b.errs[:0]
}

func (b *batch) add(s shot) {
	b.shots = append(b.shots, s)
	b.kicks = append(b.kicks, driver.Kick{Target: s.route.Target})
	b.errs = append(b.errs, nil)
}

func (b *batch) addErrand(e *errand) {
	b.add(shot{i: none, e: e, who: e.who, route: e.routes[0]})
	b.kicks[len(b.kicks)-1].Confirm = e.code
}

// fly makes one attempt for each shot of a batch.
func (d *Dispatcher) fly(ctx context.Context, b *batch) {
	b.at = d.now()
	d.attempt(ctx, b)
	d.tellGone(b)
	d.land(b)
	if d.log.Enabled(ctx, slog.LevelDebug) {
		for n := range b.shots {
			who := b.shots[n].who
			d.log.DebugContext(ctx, "kick", "driver", b.gate.name, "relay", uint32(who.Owner), "uaid", who.UAID,
				"outcome", outcomeOf(b.errs[n]).String(), "err", b.errs[n])
		}
	}
	d.release(b.gate)
	d.batches.Put(b)
}

// attempt calls the driver with what the targets' budgets let through. Its
// panic is a failure of the provider.
func (d *Dispatcher) attempt(ctx context.Context, b *batch) {
	defer func() {
		if r := recover(); r != nil {
			d.log.Error("a kick driver panicked", "driver", b.gate.name, "panic", r, "stack", string(debug.Stack()))
			for n := range b.errs {
				b.errs[n] = fmt.Errorf("%w: the driver panicked", edition.ErrUnavailable)
			}
		}
	}()
	if b.budget == nil || b.affordable() {
		b.gate.driver.Kick(ctx, b.kicks, b.errs)
		return
	}
	kicks, errs := make([]driver.Kick, len(b.free)), make([]error, len(b.free))
	for n, at := range b.free {
		kicks[n] = b.kicks[at]
	}
	b.gate.driver.Kick(ctx, kicks, errs)
	for n, at := range b.free {
		b.errs[at] = errs[n]
	}
}

// affordable charges the targets' budgets and reports whether all of them have
// something left. If not, it sets the errors of those that have not, and free.
func (b *batch) affordable() bool {
	b.hashes = b.hashes[:0]
	for n := range b.kicks {
		b.hashes = append(b.hashes, b.budget.hash(b.gate.driver.Aim(b.kicks[n].Target)))
	}
	all := true
	b.budget.takeAll(b.hashes, func(n int, wait time.Duration) {
		b.errs[n] = edition.RetryAfter(fmt.Errorf("%w: its target has had as many kicks as it may", edition.ErrTooMany), wait)
		all = false
	})
	b.free = b.free[:0]
	if !all {
		for n, err := range b.errs {
			if err == nil {
				b.free = append(b.free, n)
			}
		}
	}
	return all
}

// goneAtOnce is how many calls of Options.Gone a batch makes at once: a store
// commits them together.
const goneAtOnce = 32

// tellGone tells of the routes that are gone, before the parties are looked at
// again.
func (d *Dispatcher) tellGone(b *batch) {
	if d.gone == nil {
		return
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, goneAtOnce)
	for n := range b.shots {
		s := &b.shots[n]
		if outcomeOf(b.errs[n]) != Gone || s.e != nil && !s.e.own {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			d.gone(s.who, s.route)
			<-places
		})
	}
	wg.Wait()
}

// land notes what became of each kick.
func (d *Dispatcher) land(b *batch) {
	g := b.gate
	var counts [outcomes]int
	d.mu.Lock()
	now := d.now()
	for n := range b.shots {
		err := b.errs[n]
		o := outcomeOf(err)
		counts[o]++
		d.breaker(g, err, now)
		if s := &b.shots[n]; s.e != nil {
			d.returned(s.e, g, o, err, b.at, now)
		} else {
			d.after(s, g, o, err, b.at, now)
		}
	}
	g.inFlight--
	d.ring()
	d.mu.Unlock()
	for o, n := range counts {
		if n > 0 {
			g.counts[o].add(n)
		}
	}
}

// breaker tells the gate what an attempt says about its provider. A target
// that fails says nothing.
func (d *Dispatcher) breaker(g *gate, err error, now int64) {
	switch {
	case err == nil:
		if g.passed() {
			g.open.Set(0)
			d.log.Info("a kick driver works again", "driver", g.name)
		}
	case errors.Is(err, edition.ErrUnavailable):
		if g.failed(now, retryAfter(err)) {
			g.open.Set(1)
			g.counts[BreakerOpen].add(1)
			d.log.Warn("a kick driver fails; its kicks wait", "driver", g.name, "wait", time.Duration(g.until-now), "err", err)
			d.disperse(g, now)
		}
	}
}

func retryAfter(err error) time.Duration {
	if r, ok := errors.AsType[*edition.RetryError](err); ok {
		return r.After
	}
	return 0
}

// disperse has those who wait at a gate whose breaker has opened look for
// another way.
func (d *Dispatcher) disperse(g *gate, now int64) {
	for g.queue.n > 0 {
		i := g.queue.head
		g.queue.remove(&d.table, i)
		d.wait(i, d.table.at(i), now)
	}
	d.scatter(g, now)
}

// after says what is next for a party that was attempted: its next route, or
// another round later.
func (d *Dispatcher) after(s *shot, g *gate, o Outcome, err error, at, now int64) {
	i, p := s.i, d.table.at(s.i)
	p.sent = false
	switch o {
	case Sent, Failed:
		p.last, p.pause, p.hope = at, at+int64(s.pause), true
		p.sent = o == Sent && p.entry != noEntry
	case RateLimited:
		p.hope = true
	case Refused:
		p.barred = true
	}
	if p.stopped {
		d.back(i, p, p.due)
		return
	}
	p.renew()
	next := g.policy.NextAfter
	if o != Sent && o != RateLimited {
		next = 0
	}
	if !s.more || o == Sent && next == 0 {
		d.roundOver(i, p, err, now)
		return
	}
	p.leg = s.leg + 1
	d.wait(i, p, now+int64(next))
}

// roundOver says what is next for a party whose routes have all been tried: err
// is what the last attempt said.
func (d *Dispatcher) roundOver(i int32, p *party, err error, now int64) {
	hope, barred := p.hope, p.barred
	p.leg, p.hope, p.barred = 0, false, false
	switch {
	case barred && !hope:
		d.rest(i, p, now)
		return
	case !hope: // all are gone
		d.leave(i, p, 0)
		return
	}
	policy := d.policyOf(p)
	if p.attempts++; p.attempts == 0 {
		p.attempts--
	}
	next := max(now+int64(policy.backoff(p.attempts)), p.pause, now+int64(retryAfter(err)))
	if end := p.first + int64(policy.GiveUp); next > end {
		next = max(end, now)
	}
	d.wait(i, p, next)
}

func (d *Dispatcher) policyOf(p *party) *Policy {
	if p.entry == noEntry {
		fallback := DefaultPolicy()
		return &fallback
	}
	return &d.slots[p.entry].policy
}

// backoff is the time to wait after the given attempt, counted from 1, varied
// by a fifth.
func (p *Policy) backoff(attempt uint16) time.Duration {
	d := p.RetryMax
	if shift := attempt - 1; shift < 32 && p.RetryMin<<shift < p.RetryMax && p.RetryMin<<shift > 0 {
		d = p.RetryMin << shift
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
