package kickdrivers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
)

// Options of a Dispatcher.
type Options struct {
	Entries []Entry
	// Routes returns how to kick a party, none when it cannot be kicked. What
	// it returns is not modified.
	Routes func(edition.Holder) (edition.Routes, error)
	// Gone is told a party and a route of it that is gone for good. It may
	// block, and be called from several goroutines; nil if nobody is to be
	// told.
	Gone func(edition.Holder, edition.Route)
	// StillDue reports whether a party has something pending and is not
	// connected.
	StillDue func(edition.Holder) bool
	// Through is what drivers reach relays through, see driver.Env; nil where
	// no relay can be.
	Through func(ctx context.Context, relay string, request json.RawMessage) (json.RawMessage, error)
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: counted, not shown
}

// Dispatcher decides when which party is kicked. Make one with New, then Run
// it. It is what a hub calls its Kicker.
type Dispatcher struct {
	// Fixed after construction.
	routes   func(edition.Holder) (edition.Routes, error)
	gone     func(edition.Holder, edition.Route)
	stillDue func(edition.Holder) bool
	through  func(context.Context, string, json.RawMessage) (json.RawMessage, error)
	log      *slog.Logger
	start    time.Time
	metrics  metrics
	acks     ackFilter

	reloading sync.Mutex    // one Reload at a time; taken before mu
	wake      chan struct{} // doorbell: look at the wheel and the gates again
	batches   sync.Pool     // of *batch
	flights   sync.WaitGroup

	mu     sync.Mutex
	gates  []*gate          // Guarded by mu, as is everything below and in the gates. In the order of the entries.
	byName map[string]*gate // replaced as a whole, never changed
	slots  [maxEntries]*gate
	grace  time.Duration // the shortest of all entries
	table  table
	wheel  wheel
	hopes  map[edition.Holder][]*errand // errands that were sent and wait for the party
	open   int                          // errands that have not ended
	asleep int64                        // Run sleeps until then; 0: it is awake
	done   bool                         // Run has ended

	// Owned by Run.
	items  []item
	fired  [batchSize]int32
	launch []*batch
}

// New opens the drivers of all entries. An error names the entry.
func New(o Options) (*Dispatcher, error) {
	d := &Dispatcher{
		routes: o.Routes, gone: o.Gone, stillDue: o.StillDue, through: o.Through, log: o.Log,
		start: time.Now(), wake: make(chan struct{}, 1),
		table: table{index: make(map[edition.Holder]int32), unused: none},
		hopes: make(map[edition.Holder][]*errand),
		items: make([]item, 0, batchSize),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.acks.init()
	d.wheel.init()
	d.batches.New = func() any { return new(batch) }
	d.metrics = newMetrics(o.Metrics, func() float64 {
		d.mu.Lock()
		defer d.mu.Unlock()
		return float64(d.table.size())
	})
	if err := d.Reload(o.Entries); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Dispatcher) now() int64 { return int64(time.Since(d.start)) }

// Due says that a party that is not connected has something new. It does not
// block. It is false when too many wait for their first kick: come back.
func (d *Dispatcher) Due(who edition.Holder) bool { return d.due(who, true) }

// Found is Due for a party that a search of the store has found: for one that
// is known already nothing changes, so that its retries go on as they were.
func (d *Dispatcher) Found(who edition.Holder) bool { return d.due(who, false) }

func (d *Dispatcher) due(who edition.Holder, fresh bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done || len(d.gates) == 0 {
		return true
	}
	now := d.now()
	i, known := d.table.index[who]
	if !known {
		return d.take(who, now)
	}
	switch p := d.table.at(i); p.state {
	case waiting, resting, cooling:
		if (fresh || p.state == cooling) && (p.attempts > 0 || p.state != waiting) {
			d.startOver(i, p, now)
		}
	case looking, flying:
		if fresh || p.stopped {
			p.again, p.first = true, now
		}
	}
	return true
}

// take adds a party, if need be in place of one that was kicked.
func (d *Dispatcher) take(who edition.Holder, now int64) bool {
	i := d.table.add(who)
	if i == none {
		old := d.table.sweep(func(p *party) bool { return d.mayGo(p, now) })
		if old == none {
			d.metrics.full.Inc()
			return false
		}
		d.wheel.remove(&d.table, old)
		d.drop(old)
		i = d.table.add(who)
	}
	p := d.table.at(i)
	p.state, p.first = waiting, now
	d.setTimer(i, now+int64(d.grace))
	return true
}

// nextSoon is how soon a party's next route has to be due for the party to
// keep its place.
const nextSoon = time.Minute

// mayGo reports whether a party may make room for another: it has had a round
// since its last event, or its next route is not due soon, and it may by now be
// kicked again.
func (d *Dispatcher) mayGo(p *party, now int64) bool {
	switch p.state {
	case waiting:
		if p.again || p.attempts == 0 && (p.leg == 0 || p.due-now <= int64(nextSoon)) {
			return false
		}
	case resting, cooling:
	default:
		return false
	}
	return p.pause <= now
}

// drop forgets a party that is on no list.
func (d *Dispatcher) drop(i int32) {
	d.unack(d.table.at(i))
	d.table.remove(i)
}

// startOver makes a party on the wheel due as if it were new. One that waits
// for its next route keeps waiting: it has not answered to the last, and where
// events come often it would else never get to the next.
func (d *Dispatcher) startOver(i int32, p *party, now int64) {
	p.first, p.again = now, true
	if p.state == waiting && p.leg > 0 {
		return
	}
	at := max(now+int64(d.graceOf(p)), p.pause)
	if p.state == waiting {
		at = min(at, p.due)
	}
	d.wheel.remove(&d.table, i)
	p.state = waiting
	p.renew()
	d.setTimer(i, at)
}

func (d *Dispatcher) graceOf(p *party) time.Duration {
	if p.entry == noEntry {
		return d.grace
	}
	return d.slots[p.entry].policy.Grace
}

// Stop says that a party has connected. It does not block.
func (d *Dispatcher) Stop(who edition.Holder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if len(d.hopes) > 0 {
		d.fulfil(who, now)
	}
	i, known := d.table.index[who]
	if !known {
		return
	}
	switch p := d.table.at(i); p.state {
	case waiting, resting:
		d.wheel.remove(&d.table, i)
		d.leave(i, p, now)
	case queued:
		d.slots[p.entry].queue.remove(&d.table, i)
		d.leave(i, p, now)
	case looking, flying:
		p.stopped, p.again, p.due = true, false, now
	}
}

// leave lets go of a party that is on no list and not due any more: it
// connected, or what was pending is gone. It is remembered until it may be
// kicked again, and for a while until it acknowledges something.
func (d *Dispatcher) leave(i int32, p *party, connected int64) {
	now := d.now()
	at := p.pause
	if d.answered(p, connected) {
		at = max(at, now+int64(ackWait))
	}
	p.sent, p.leg, p.hope, p.barred = false, 0, false, false
	if at > now {
		p.state = cooling
		d.setTimer(i, at)
		return
	}
	d.drop(i)
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// answered notes that a party has connected, and reports whether that was after
// a kick. connected is 0 where it has not.
func (d *Dispatcher) answered(p *party, connected int64) bool {
	if !p.sent || connected == 0 {
		return false
	}
	g := d.slots[p.entry]
	g.counts[Answered].add(1)
	g.took.Observe(seconds(connected - p.last))
	d.await(p)
	return true
}

func (d *Dispatcher) setTimer(i int32, at int64) {
	d.wheel.add(&d.table, i, at)
	if d.table.at(i).due < d.asleep {
		d.ring()
	}
}

func (d *Dispatcher) ring() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
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

var errEnds = fmt.Errorf("%w: no more kicks are sent here", edition.ErrUnavailable)

func (d *Dispatcher) end() {
	d.reloading.Lock() // a Reload sees that all has ended, or is seen here
	defer d.reloading.Unlock()
	d.mu.Lock()
	d.endErrands()
	d.done = true
	d.mu.Unlock()
	d.flights.Wait()
	d.mu.Lock()
	closing := d.swap(nil, nil)
	d.mu.Unlock()
	d.closeAll(closing)
}

// closeAll closes the drivers of gates that nobody uses.
func (d *Dispatcher) closeAll(gates []*gate) {
	for _, g := range gates {
		if err := g.driver.Close(); err != nil {
			d.log.Warn("a kick driver did not close", "driver", g.name, "err", err)
		}
	}
}

// release gives back a gate's driver, and closes it if nobody will ask for it
// again.
func (d *Dispatcher) release(g *gate) {
	d.mu.Lock()
	g.users--
	last := g.retired && g.users == 0
	d.mu.Unlock()
	if last {
		d.closeAll([]*gate{g})
	}
}

var errTwice = errors.New("name: given twice")
