package kickdrivers

import (
	"context"
	"math"
	"time"

	"github.com/edition-push/edition"
)

const (
	// batchSize is the greatest number of kicks handed to a driver at once.
	batchSize = 256
	// restCheck is how often a party that was given up is looked at, to see
	// whether what was pending has gone.
	restCheck = time.Hour
	// late is how long a kick may wait for its turn before it is counted.
	late = 100 * time.Millisecond
	// routeRetry is when to ask again for a route that could not be read.
	routeRetry = time.Second
)

// item is one party in Run's hands.
type item struct {
	i     int32
	paid  *gate // whose token it holds; nil when none
	who   edition.Holder
	route edition.Route
	due   bool
	err   error
}

// Run kicks until ctx ends, then waits for what is under way and closes the
// drivers. It returns nil. Call it once.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer d.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if sleep := d.collect(); sleep == 0 {
			d.look()
			d.settle(ctx)
			if ctx.Err() != nil {
				return nil
			}
			continue
		} else {
			timer.Reset(sleep)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
	}
}

func (d *Dispatcher) end() {
	d.mu.Lock()
	d.done = true
	d.mu.Unlock()
	d.flights.Wait()
	d.closeDrivers()
}

// collect takes up to a batch of parties whose turn has come into d.items:
// those who wait at a gate, then those whose time has come, but no more than
// the gates have room for. When there are none it returns for how long to
// sleep.
func (d *Dispatcher) collect() (sleep time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.items, d.asleep = d.items[:0], 0
	room := 0
	for _, g := range d.gates {
		free := g.room(now)
		n := min(free, g.queue.n, batchSize-len(d.items))
		room += free - n
		if n > 0 {
			g.inFlight++
			d.launch[g.index] = d.newBatch(g)
		}
		for range n {
			i := g.queue.head
			g.queue.remove(&d.table, i)
			g.tokens--
			d.inHand(i, g)
		}
	}
	room = min(room, batchSize-len(d.items))
	for _, i := range d.fired[:d.wheel.fire(&d.table, now, d.fired[:room])] {
		if d.table.at(i).state == cooling {
			d.table.remove(i)
			continue
		}
		d.inHand(i, nil)
	}
	if len(d.items) > 0 {
		return 0
	}
	d.asleep = d.nextLook(now)
	return time.Duration(max(1, d.asleep-now))
}

// nextLook is when there is something to do, if nobody rings before: when the
// next party on the wheel is due and a gate has room for it, or when a gate
// has room for one that waits there.
func (d *Dispatcher) nextLook(now int64) int64 {
	next, open := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, g := range d.gates {
		if at, ok := g.opens(now); ok {
			open = min(open, at)
			if g.queue.n > 0 {
				next = min(next, at)
			}
		}
	}
	if at, ok := d.wheel.next(); ok {
		next = min(next, max(at, open))
	}
	return next
}

func (d *Dispatcher) inHand(i int32, paid *gate) {
	p := d.table.at(i)
	p.state = looking
	d.items = append(d.items, item{i: i, paid: paid, who: p.who})
}

// look asks the store about each party in hand. Nothing is locked.
func (d *Dispatcher) look() {
	var failed error
	for n := range d.items {
		it := &d.items[n]
		if it.route, it.err = d.route(it.who); it.err == nil && !it.route.IsZero() {
			it.due = d.stillDue(it.who)
		} else if it.err != nil {
			failed = it.err
		}
	}
	if failed != nil {
		d.log.Warn("cannot read how to kick a party", "err", failed)
	}
}

// settle decides about each party in hand and launches what is to be sent.
func (d *Dispatcher) settle(ctx context.Context) {
	d.mu.Lock()
	now := d.now()
	for n := range d.items {
		it := &d.items[n]
		if !d.admit(it, now) && it.paid != nil {
			it.paid.tokens++
		}
		*it = item{}
	}
	launch := d.launch
	for i, b := range launch {
		if b != nil && len(b.parties) == 0 {
			b.gate.inFlight--
			d.batches.Put(b)
			launch[i] = nil
		}
	}
	d.mu.Unlock()
	for i, b := range launch {
		if b != nil {
			d.flights.Go(func() { d.fly(ctx, b) })
			launch[i] = nil
		}
	}
}

// admit decides about one party: whether it is to be kicked at all, now, or
// later. It reports whether it put it into a batch.
func (d *Dispatcher) admit(it *item, now int64) bool {
	i, p := it.i, d.table.at(it.i)
	switch {
	case p.stopped:
		d.back(i, p, p.due)
		return false
	case it.err != nil:
		d.wait(i, p, now+int64(routeRetry))
		return false
	case it.route.IsZero():
		d.metrics.mute.Inc()
		d.leave(i, p, 0)
		return false
	case !it.due:
		d.leave(i, p, 0)
		return false
	}
	p.renew()
	g := d.byName[it.route.Driver]
	if g == nil { // its driver is no longer configured
		d.rest(i, p, now)
		return false
	}
	p.entry = g.index
	if p.sent {
		p.sent = false
		g.counts[Unanswered].Inc()
	}
	switch at := max(p.first+int64(g.policy.Grace), d.earliest(p)); {
	case p.given:
		d.rest(i, p, now)
	case p.attempts > 0 && now >= p.first+int64(g.policy.GiveUp):
		g.counts[GaveUp].Inc()
		d.rest(i, p, now)
	case at > now:
		d.wait(i, p, at)
	case it.paid == g, g.queue.n == 0 && d.seat(g, now):
		if now-p.due > int64(late) {
			g.counts[RateLimited].Inc()
		}
		d.launch[g.index].add(it, p)
		return true
	default:
		p.state = queued
		g.queue.push(&d.table, i)
	}
	return false
}

// seat takes a token and a place in a batch of the gate, if there is one.
func (d *Dispatcher) seat(g *gate, now int64) bool {
	b := d.launch[g.index]
	switch {
	case b == nil:
		if g.room(now) < 1 {
			return false
		}
		g.inFlight++
		d.launch[g.index] = d.newBatch(g)
	case g.until != 0 || g.tokens < 1 || len(b.parties) >= batchSize:
		return false
	}
	g.tokens--
	return true
}

// wait puts a party that is on no list back on the wheel.
func (d *Dispatcher) wait(i int32, p *party, at int64) {
	p.state = waiting
	d.setTimer(i, at)
}

// rest keeps a party that is on no list without kicking it, until a new event.
func (d *Dispatcher) rest(i int32, p *party, now int64) {
	p.state, p.given = resting, true
	d.setTimer(i, now+int64(restCheck))
}

// back lets go of a party that connected while it was in hand, or starts over
// if it has left since and is due again.
func (d *Dispatcher) back(i int32, p *party, connected int64) {
	p.stopped = false
	if !p.again {
		d.leave(i, p, connected)
		return
	}
	p.renew()
	p.sent = false
	d.wait(i, p, max(p.first+int64(d.graceOf(p)), d.earliest(p)))
}
