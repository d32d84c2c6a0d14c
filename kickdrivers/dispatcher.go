package kickdrivers

import (
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
	// Route returns how to kick a party, zero when it cannot be kicked.
	Route func(edition.Holder) (edition.Route, error)
	// Forget is told a party whose route is gone for good. It may block; nil
	// if nobody is to be told.
	Forget func(edition.Holder)
	// StillDue reports whether a party has something pending and is not
	// connected.
	StillDue func(edition.Holder) bool
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: counted, not shown
}

// Dispatcher decides when which party is kicked. Make one with New, then Run
// it. It is what a hub calls its Kicker.
type Dispatcher struct {
	// Fixed after construction.
	gates    []*gate // in the order of the entries
	byName   map[string]*gate
	route    func(edition.Holder) (edition.Route, error)
	forget   func(edition.Holder)
	stillDue func(edition.Holder) bool
	log      *slog.Logger
	grace    time.Duration // the shortest of all entries
	start    time.Time
	metrics  metrics

	wake    chan struct{} // doorbell: look at the wheel and the gates again
	batches sync.Pool     // of *batch
	flights sync.WaitGroup

	mu     sync.Mutex
	table  table // Guarded by mu, as is everything below and in the gates.
	wheel  wheel
	asleep int64 // Run sleeps until then; 0: it is awake
	done   bool  // Run has ended

	// Owned by Run.
	items  []item
	fired  [batchSize]int32
	launch []*batch // by gate
}

// New opens the drivers of all entries. An error names the entry.
func New(o Options) (*Dispatcher, error) {
	d := &Dispatcher{
		byName: make(map[string]*gate, len(o.Entries)),
		route:  o.Route, forget: o.Forget, stillDue: o.StillDue, log: o.Log,
		start: time.Now(), wake: make(chan struct{}, 1),
		table:  table{index: make(map[edition.Holder]int32), unused: none},
		items:  make([]item, 0, batchSize),
		launch: make([]*batch, len(o.Entries)),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.wheel.init()
	d.batches.New = func() any { return new(batch) }
	d.metrics = newMetrics(o.Metrics, func() float64 {
		d.mu.Lock()
		defer d.mu.Unlock()
		return float64(d.table.size())
	})
	for i, e := range o.Entries {
		if err := d.open(i, e); err != nil {
			d.closeDrivers()
			return nil, err
		}
	}
	return d, nil
}

// maxEntries is what party.entry can number.
const maxEntries = 200

func (d *Dispatcher) open(i int, e Entry) error {
	if i >= maxEntries {
		return fmt.Errorf("%w: kicks: more than %d entries", edition.ErrConfig, maxEntries)
	}
	if d.byName[e.Name] != nil {
		return fmt.Errorf("%w: kicks[%d] (%s): name: given twice", edition.ErrConfig, i, e.Name)
	}
	driver, err := e.Open(d.log.With("driver", e.Name))
	if err != nil {
		return fmt.Errorf("kicks[%d] (%s): %w", i, e.Name, err)
	}
	g := &gate{name: e.Name, index: uint8(i), policy: e.Policy, driver: driver, queue: newList(), tokens: float64(e.Policy.Burst)}
	d.metrics.gate(g)
	d.gates = append(d.gates, g)
	d.byName[e.Name] = g
	if i == 0 || e.Policy.Grace < d.grace {
		d.grace = e.Policy.Grace
	}
	d.table.limit = min(d.table.limit+e.Policy.MaxWaiting, maxWaiting)
	return nil
}

func (d *Dispatcher) closeDrivers() {
	for _, g := range d.gates {
		if err := g.driver.Close(); err != nil {
			d.log.Warn("a kick driver did not close", "driver", g.name, "err", err)
		}
	}
}

func (d *Dispatcher) now() int64 { return int64(time.Since(d.start)) }

// Due says that a party that is not connected has something new. It does not
// block. It is false when too many wait for their first kick: come back.
func (d *Dispatcher) Due(who edition.Holder) bool { return d.due(who, true) }

// Found is Due for a party that a search of the store has found: for one that
// is known already nothing changes, so that its retries go on as they were.
func (d *Dispatcher) Found(who edition.Holder) bool { return d.due(who, false) }

func (d *Dispatcher) due(who edition.Holder, fresh bool) bool {
	if len(d.gates) == 0 {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
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
		old := d.table.sweep(func(p *party) bool {
			return (p.state == waiting && p.attempts > 0 || p.state == resting || p.state == cooling) && d.earliest(p) <= now
		})
		if old == none {
			d.metrics.full.Inc()
			return false
		}
		d.wheel.remove(&d.table, old)
		d.table.remove(old)
		i = d.table.add(who)
	}
	p := d.table.at(i)
	p.state, p.first = waiting, now
	d.setTimer(i, now+int64(d.grace))
	return true
}

// startOver makes a party on the wheel due as if it were new.
func (d *Dispatcher) startOver(i int32, p *party, now int64) {
	at := max(now+int64(d.graceOf(p)), d.earliest(p))
	if p.state == waiting {
		at = min(at, p.due)
	}
	d.wheel.remove(&d.table, i)
	p.state, p.first, p.again = waiting, now, true
	p.renew()
	d.setTimer(i, at)
}

func (d *Dispatcher) graceOf(p *party) time.Duration {
	if p.entry == noEntry {
		return d.grace
	}
	return d.gates[p.entry].policy.Grace
}

// earliest is when a party may be kicked again.
func (d *Dispatcher) earliest(p *party) int64 {
	if p.last == 0 || p.entry == noEntry {
		return 0
	}
	return p.last + int64(d.gates[p.entry].policy.MinInterval)
}

// Stop says that a party has connected. It does not block.
func (d *Dispatcher) Stop(who edition.Holder) {
	if len(d.gates) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i, known := d.table.index[who]
	if !known {
		return
	}
	now := d.now()
	switch p := d.table.at(i); p.state {
	case waiting, resting:
		d.wheel.remove(&d.table, i)
		d.leave(i, p, now)
	case queued:
		d.gates[p.entry].queue.remove(&d.table, i)
		d.leave(i, p, now)
	case looking, flying:
		p.stopped, p.again, p.due = true, false, now
	}
}

// leave lets go of a party that is on no list and not due any more: it
// connected, or what was pending is gone. It is remembered until it may be
// kicked again.
func (d *Dispatcher) leave(i int32, p *party, connected int64) {
	if p.sent && connected != 0 {
		g := d.gates[p.entry]
		g.counts[Answered].Inc()
		g.took.Observe(float64(connected-p.last) / 1e9)
	}
	if at := d.earliest(p); at > d.now() {
		p.state, p.sent = cooling, false
		d.setTimer(i, at)
		return
	}
	d.table.remove(i)
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
