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
	// routeRetry is when to ask again for routes that could not be read.
	routeRetry = time.Second
)

// item is one party in Run's hands.
type item struct {
	i      int32
	paid   *gate // whose token it holds; nil when none
	who    edition.Holder
	routes edition.Routes
	due    bool
	err    error
}

// collect takes up to a batch of parties whose turn has come into d.items:
// those who wait at a gate, then those whose time has come, but no more than
// the gates have room for. Errands go straight into the batches of their
// gates. When there is nothing to do it returns for how long to sleep.
func (d *Dispatcher) collect() (sleep time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.items, d.asleep = d.items[:0], 0
	room := 0
	for _, g := range d.gates {
		d.expire(g, now)
		free := g.room(now)
		errands := g.share(free)
		n := min(free-errands, g.queue.n, batchSize-len(d.items))
		room += free - errands - n
		if errands+n > 0 {
			d.begin(g)
		}
		for range errands {
			e := g.errands[0]
			g.errands = g.errands[1:]
			g.tokens--
			g.batch.addErrand(e)
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
			d.drop(i)
			continue
		}
		d.inHand(i, nil)
	}
	if len(d.items) > 0 || len(d.launch) > 0 {
		return 0
	}
	d.asleep = d.nextLook(now)
	return time.Duration(max(1, d.asleep-now))
}

// share is how much of its room a gate gives to errands: half, so that neither
// they nor what is due can hold up the other.
func (g *gate) share(free int) int {
	if len(g.errands) == 0 || free == 0 {
		return 0
	}
	half := free / 2
	if free%2 == 1 {
		if g.turn = !g.turn; g.turn {
			half++
		}
	}
	return min(half, len(g.errands))
}

// begin makes the batch that a gate's next kicks go into.
func (d *Dispatcher) begin(g *gate) {
	b := d.batches.Get().(*batch)
	b.reset(g)
	g.batch = b
	g.inFlight++
	g.users++
	d.launch = append(d.launch, b)
}

// nextLook is when there is something to do, if nobody rings before: when the
// next party on the wheel is due and a gate has room for it, or when a gate
// has room for one that waits there.
func (d *Dispatcher) nextLook(now int64) int64 {
	next, open := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, g := range d.gates {
		if at, ok := g.opens(now); ok {
			open = min(open, at)
			if g.queue.n > 0 || len(g.errands) > 0 {
				next = min(next, at)
			}
		}
		if len(g.errands) > 0 {
			next = min(next, g.errands[0].until)
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
		if it.routes, it.err = d.routes(it.who); it.err == nil && it.routes.Usable() {
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
	var idle []*gate
	for _, b := range d.launch {
		b.gate.batch = nil
		if len(b.shots) == 0 {
			b.gate.inFlight--
			idle = append(idle, b.gate)
		}
	}
	d.mu.Unlock()
	for _, g := range idle {
		d.release(g)
	}
	for i, b := range d.launch {
		if len(b.shots) > 0 {
			d.flights.Go(func() { d.fly(ctx, b) })
		} else {
			d.batches.Put(b)
		}
		d.launch[i] = nil
	}
	d.launch = d.launch[:0]
}

// admit decides about one party: whether it is to be kicked at all, now, or
// later, and by which route. It reports whether it put it into a batch.
func (d *Dispatcher) admit(it *item, now int64) bool {
	i, p := it.i, d.table.at(it.i)
	switch {
	case p.stopped:
		d.back(i, p, p.due)
		return false
	case it.err != nil:
		d.wait(i, p, now+int64(routeRetry))
		return false
	case !it.routes.Usable():
		if p.attempts == 0 && p.leg == 0 {
			d.metrics.mute.Inc()
		}
		d.leave(i, p, 0)
		return false
	case !it.due:
		d.leave(i, p, 0)
		return false
	}
	p.renew()
	if p.sent {
		p.sent = false
		d.slots[p.entry].counts[Unanswered].add(1)
	}
	leg, g := d.pick(it.routes, int(p.leg), now, it.paid)
	switch {
	case g == nil && p.leg == 0: // no driver of it is configured any more
		d.rest(i, p, now)
		return false
	case g == nil: // the list has become shorter
		d.roundOver(i, p, nil, now)
		return false
	case p.leg == 0 && !d.mayBegin(i, p, g, now):
		return false
	case it.paid == g, g.queue.n == 0 && d.seat(g, now):
		if now-p.due > int64(late) {
			g.counts[RateLimited].add(1)
		}
		_, next := d.pick(it.routes, leg+1, now, nil)
		d.unack(p)
		p.entry, p.state = g.slot, flying
		g.batch.add(shot{i: i, who: it.who, route: it.routes[leg], leg: uint8(leg), more: next != nil, pause: d.interval(it.routes)})
		return true
	}
	p.entry, p.state = g.slot, queued
	g.queue.push(&d.table, i)
	return false
}

// interval is the shortest time from a kick to the party's next round: what all
// the entries of its list ask for.
func (d *Dispatcher) interval(routes edition.Routes) (longest time.Duration) {
	for _, r := range routes {
		if g := d.byName[r.Driver]; g != nil && r.Usable() {
			longest = max(longest, g.policy.MinInterval)
		}
	}
	return longest
}

// mayBegin reports whether a round may begin now. If not it says what is next
// for the party.
func (d *Dispatcher) mayBegin(i int32, p *party, g *gate, now int64) bool {
	switch at := max(p.first+int64(g.policy.Grace), p.pause); {
	case p.given:
		d.rest(i, p, now)
	case p.attempts > 0 && now >= p.first+int64(g.policy.GiveUp):
		g.counts[GaveUp].add(1)
		d.rest(i, p, now)
	case at > now:
		d.wait(i, p, at)
	default:
		return true
	}
	return false
}

// pick returns which route to try next, from a place in the list on, and its
// gate: the first whose provider is not taken to be down, or else the first
// of all. The gate is nil when there is none. A party that has paid at a gate
// is its probe, if it needs one.
func (d *Dispatcher) pick(routes edition.Routes, from int, now int64, paid *gate) (at int, g *gate) {
	for n := from; n < len(routes); n++ {
		c := d.byName[routes[n].Driver]
		if c == nil || !routes[n].Usable() {
			continue
		}
		if c == paid || !c.down(now) {
			return n, c
		}
		if g == nil {
			at, g = n, c
		}
	}
	return at, g
}

// seat takes a token and a place in a batch of the gate, if there is one.
func (d *Dispatcher) seat(g *gate, now int64) bool {
	switch {
	case g.batch == nil:
		if g.room(now) < 1 {
			return false
		}
		d.begin(g)
	case g.until != 0 || g.tokens < 1 || len(g.batch.shots) >= batchSize:
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
	d.answered(p, connected)
	p.renew()
	p.sent, p.leg, p.hope, p.barred = false, 0, false, false
	d.wait(i, p, max(p.first+int64(d.graceOf(p)), p.pause))
}
