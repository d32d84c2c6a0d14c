package kickdrivers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/edition-push/edition"
)

// batch is what one goroutine hands to a driver at once.
type batch struct {
	gate    *gate
	parties []int32
	who     []edition.Holder
	targets []json.RawMessage
	errs    []error
	at      int64 // when it was handed over
}

func (d *Dispatcher) newBatch(g *gate) *batch {
	b := d.batches.Get().(*batch)
	clear(b.targets)
	clear(b.errs)
	b.gate, b.parties, b.who, b.targets, b.errs = g, b.parties[:0], b.who[:0], b.targets[:0], b.errs[:0]
	return b
}

func (b *batch) add(it *item, p *party) {
	p.state = flying
	b.parties = append(b.parties, it.i)
	b.who = append(b.who, it.who)
	b.targets = append(b.targets, it.route.Target)
	b.errs = append(b.errs, nil)
}

// fly makes one attempt for each party of a batch.
func (d *Dispatcher) fly(ctx context.Context, b *batch) {
	b.at = d.now()
	d.attempt(ctx, b)
	d.land(b)
	if d.log.Enabled(ctx, slog.LevelDebug) {
		for n, who := range b.who {
			d.log.DebugContext(ctx, "kick", "driver", b.gate.name, "relay", uint32(who.Owner), "uaid", who.UAID,
				"outcome", outcomeOf(b.errs[n]).String(), "err", b.errs[n])
		}
	}
	d.forgetGone(b)
	d.batches.Put(b)
}

// forgetGone has the routes forgotten that are gone, unless the party has told
// a new one meanwhile.
func (d *Dispatcher) forgetGone(b *batch) {
	if d.forget == nil {
		return
	}
	for n, who := range b.who {
		if outcomeOf(b.errs[n]) != Gone {
			continue
		}
		if r, err := d.route(who); err == nil && r.Driver == b.gate.name && bytes.Equal(r.Target, b.targets[n]) {
			d.forget(who)
		}
	}
}

// attempt calls the driver. Its panic is a failure of the provider.
func (d *Dispatcher) attempt(ctx context.Context, b *batch) {
	defer func() {
		if r := recover(); r != nil {
			d.log.Error("a kick driver panicked", "driver", b.gate.name, "panic", r, "stack", string(debug.Stack()))
			for n := range b.errs {
				b.errs[n] = fmt.Errorf("%w: the driver panicked", edition.ErrUnavailable)
			}
		}
	}()
	b.gate.driver.Kick(ctx, b.targets, b.errs)
}

// land notes what became of each kick.
func (d *Dispatcher) land(b *batch) {
	g := b.gate
	var counts [outcomes]int
	d.mu.Lock()
	now := d.now()
	for n, i := range b.parties {
		err := b.errs[n]
		o := outcomeOf(err)
		counts[o]++
		d.breaker(g, err, now)
		d.after(i, g, o, err, b.at, now)
	}
	g.inFlight--
	d.ring()
	d.mu.Unlock()
	for o, n := range counts {
		if n > 0 {
			g.counts[o].Add(float64(n))
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
		if g.failed(now) {
			g.open.Set(1)
			g.counts[BreakerOpen].Inc()
			d.log.Warn("a kick driver fails; its kicks wait", "driver", g.name, "wait", time.Duration(g.until-now), "err", err)
		}
	}
}

// after says what is next for a party that was attempted.
func (d *Dispatcher) after(i int32, g *gate, o Outcome, err error, at, now int64) {
	p := d.table.at(i)
	switch o {
	case Sent, Failed:
		p.last, p.sent = at, o == Sent
	case Gone:
		d.table.remove(i)
		return
	}
	if p.stopped {
		d.back(i, p, p.due)
		return
	}
	p.renew()
	if o == Refused {
		d.rest(i, p, now)
		return
	}
	p.attempts++
	next := max(now+int64(g.policy.backoff(p.attempts)), d.earliest(p))
	if r, ok := errors.AsType[*edition.RetryError](err); ok {
		next = max(next, now+int64(r.After))
	}
	if end := p.first + int64(g.policy.GiveUp); next > end {
		next = max(end, now)
	}
	d.wait(i, p, next)
}

// backoff is the time to wait after the given attempt, counted from 1, varied
// by a fifth.
func (p Policy) backoff(attempt uint16) time.Duration {
	d := p.RetryMax
	if shift := attempt - 1; shift < 32 && p.RetryMin<<shift < p.RetryMax && p.RetryMin<<shift > 0 {
		d = p.RetryMin << shift
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
