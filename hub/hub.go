// Package hub is the core that both roles share: keep an event, then ring who
// is connected or have kicked who is not.
//
// It keeps promise 1 of docs/DESIGN (a kept event is visible before anybody is
// told) by one order: Deliver stores, then looks who is here; a session
// attaches, then looks at the store. Whatever falls between is seen by one of
// the two. The hub holds no events and never blocks on a session or a driver.
package hub

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/edition-push/edition"
)

// Bell is how the hub reaches the session that holds a party. Neither method
// may block, or call the hub. Bells are compared: use a pointer.
type Bell interface {
	// Ring says that something may wait for uaid; for a relay's session, one
	// of its devices.
	Ring(uaid edition.UAID)
	// Lost says that a newer session has taken the party over.
	Lost(party edition.Holder)
}

// Kicker wakes parties that have something pending and are not connected. A
// kick is derived, not queued: the Kicker asks again before each attempt.
type Kicker interface {
	// Due says that a kick may be due. It does not block; false means that
	// the Kicker is full, and the hub comes back with what is still due.
	Due(party edition.Holder) bool
	// Found is Due for what a search of the store has found, and may have
	// found before: it does not start retries over.
	Found(party edition.Holder) bool
	// Stop says that the party has connected.
	Stop(party edition.Holder)
	// Acked says that the party has acknowledged something. It is called for
	// every ack, and so costs next to nothing when nobody was kicked.
	Acked(party edition.Holder)
}

// Options of a Hub.
type Options struct {
	Store edition.Store
	Kick  Kicker // nil: nobody is kicked
	// Grace is given to the commit of an event whose device is connected
	// (edition.Delivery.Grace). 0 commits at once.
	Grace time.Duration
	// Delivered, if not nil, is called after acks that may have made reports
	// for an upstream (edition.Store.Reports). It must not block.
	Delivered func()
	Log       *slog.Logger
	Metrics   prometheus.Registerer // nil: counted, not shown
}

// Hub knows who is connected. Make one with New.
type Hub struct {
	// Fixed after construction.
	store edition.Store
	kick  Kicker
	grace time.Duration
	told  func()
	log   *slog.Logger
	seed  maphash.Seed

	draining atomic.Bool
	watch    watchers
	quiet    quiet
	rescan   chan struct{} // doorbell: a kick was refused, look at the store again
	shards   [64]shard

	connected prometheus.Gauge
	fresh     prometheus.Counter
	stale     prometheus.Counter
	cleared   prometheus.Counter
	late      prometheus.Counter
	ignored   prometheus.Counter
}

// shard is a part of the map of who is connected.
type shard struct {
	mu    sync.RWMutex
	bells map[edition.Holder]Bell // Guarded by mu. Keys are parties.
}

// New returns a hub over a store.
func New(o Options) *Hub {
	f := promauto.With(o.Metrics)
	h := &Hub{
		store: o.Store, kick: o.Kick, grace: o.Grace, told: o.Delivered, log: o.Log,
		seed: maphash.MakeSeed(), rescan: make(chan struct{}, 1),
		connected: f.NewGauge(prometheus.GaugeOpts{
			Name: "edition_hub_connected", Help: "Devices and relays connected.",
		}),
		fresh: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_hub_events_fresh_total", Help: "Events that made something pending.",
		}),
		stale: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_hub_events_stale_total", Help: "Events that changed nothing: at or below a known version, or for nobody.",
		}),
	}
	acks := f.NewCounterVec(prometheus.CounterOpts{
		Name: "edition_hub_acks_total", Help: "Events acknowledged, by what the ack did.",
	}, []string{"result"})
	h.cleared, h.late, h.ignored = acks.WithLabelValues("cleared"), acks.WithLabelValues("late"), acks.WithLabelValues("ignored")
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	for i := range h.shards {
		h.shards[i].bells = make(map[edition.Holder]Bell)
	}
	return h
}

func (h *Hub) shard(party edition.Holder) *shard {
	if party.Owner != edition.Direct {
		return &h.shards[uint32(party.Owner)%uint32(len(h.shards))]
	}
	return &h.shards[maphash.Comparable(h.seed, party.UAID)%uint64(len(h.shards))]
}

func (h *Hub) bell(party edition.Holder) Bell {
	s := h.shard(party)
	s.mu.RLock()
	b := s.bells[party]
	s.mu.RUnlock()
	return b
}

// Connected reports whether a session holds the party.
func (h *Hub) Connected(party edition.Holder) bool { return h.bell(party) != nil }

// Deliver keeps events and rings or kicks whom they are for. It is the one way
// in: a PUT and an upstream's UPDATE are the same call. The receipt says when
// and how each was kept; Deliver itself does not wait.
func (h *Hub) Deliver(u edition.Update, how edition.Delivery) *edition.Receipt {
	if h.draining.Load() {
		return refuse(len(u))
	}
	if h.grace > 0 && h.allConnected(u) {
		how.Grace = h.grace
	}
	r := h.store.Deliver(u, how)
	for _, f := range r.Fresh {
		h.tell(f)
	}
	h.fresh.Add(float64(len(r.Fresh)))
	h.stale.Add(float64(len(u) - len(r.Fresh)))
	return r
}

// tell rings whom an event is for, or has the party kicked.
func (h *Hub) tell(f edition.Holder) {
	if b := h.bell(f.Party()); b != nil {
		b.Ring(f.UAID)
	} else {
		h.due(f.Party())
	}
}

// Withdraw withdraws a message (edition.Store.Withdraw), and tells the relay that
// it may have gone to. withdrawn is false when it is not pending.
func (h *Hub) Withdraw(ctx context.Context, e edition.Event) (withdrawn bool, err error) {
	withdrawn, relay, err := h.store.Withdraw(ctx, e)
	if relay != edition.Direct {
		h.tell(edition.Holder{Owner: relay, UAID: e.UAID})
	}
	if withdrawn {
		h.watch.ring(edition.Update{e})
	}
	return withdrawn, err
}

// graceUpdate is the greatest update that may wait for acks: a few events.
const graceUpdate = 16

func (h *Hub) allConnected(u edition.Update) bool {
	if len(u) > graceUpdate {
		return false
	}
	for _, e := range u {
		if !h.Connected(edition.Holder{UAID: e.UAID}) {
			return false
		}
	}
	return true
}

func refuse(n int) *edition.Receipt {
	r := edition.NewReceipt(n)
	for i := range n {
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeFailed, Err: errDraining})
	}
	return r
}

// Attach makes b the holder of a party; the newest wins. Look at the store
// after Attach, not before.
func (h *Hub) Attach(party edition.Holder, b Bell) {
	s := h.shard(party)
	s.mu.Lock()
	old := s.bells[party]
	s.bells[party] = b
	s.mu.Unlock()
	switch {
	case old == nil:
		h.connected.Inc()
	case old != b:
		old.Lost(party)
	}
	if h.kick != nil {
		h.kick.Stop(party)
	}
}

// Visit is Attach for who comes only for a moment, and takes the party from
// nobody: it reports false when another holds it. Detach ends the visit.
func (h *Hub) Visit(party edition.Holder, b Bell) bool {
	s := h.shard(party)
	s.mu.Lock()
	free := s.bells[party] == nil
	if free {
		s.bells[party] = b
	}
	s.mu.Unlock()
	if free {
		h.connected.Inc()
		if h.kick != nil {
			h.kick.Stop(party)
		}
	}
	return free
}

// Detach ends b's hold of a party, if it still has it. What is pending then
// makes a kick due.
func (h *Hub) Detach(party edition.Holder, b Bell) {
	s := h.shard(party)
	s.mu.Lock()
	held := s.bells[party] == b
	if held {
		delete(s.bells, party)
	}
	s.mu.Unlock()
	if !held {
		return
	}
	h.connected.Dec()
	if h.kick != nil && !h.draining.Load() && h.Pending(party) {
		h.due(party)
	}
}

// Pending reports whether anything waits for a party that it is to be woken
// for, see Urgency.
func (h *Hub) Pending(party edition.Holder) bool {
	var buf [1]edition.Event
	if party.Owner == edition.Direct {
		u, err := h.store.Pending(buf[:0], edition.Direct, party.UAID)
		if err != nil || len(u) == 0 {
			return false
		}
		due, err := h.urgent(u, h.quiet.least(party.UAID))
		return err == nil && due
	}
	for after, more := (edition.Key{}), true; more; {
		var u edition.Update
		var err error
		u, after, more, err = h.store.Scan(buf[:0], party.Owner, after, 1)
		if err != nil || len(u) > 0 {
			return err == nil
		}
	}
	return false
}

// StillDue reports whether a party has something pending and is not connected:
// what a Kicker asks before each attempt.
func (h *Hub) StillDue(party edition.Holder) bool {
	return !h.draining.Load() && !h.Connected(party) && h.Pending(party)
}

// Ack applies what a holder reports.
func (h *Hub) Ack(owner edition.Owner, u edition.Update, state edition.AckState) error {
	n, err := h.store.Ack(owner, u, state)
	if err != nil {
		return err
	}
	h.watch.ring(u)
	if h.told != nil && state == edition.AckDelivered {
		h.told()
	}
	if h.kick != nil && n.Cleared > 0 && state != edition.AckRefused {
		h.acked(owner, u)
	}
	if n.Cleared > 0 {
		h.cleared.Add(float64(n.Cleared))
	}
	if n.Late > 0 {
		h.late.Add(float64(n.Late))
	}
	if n.Ignored > 0 {
		h.ignored.Add(float64(n.Ignored))
	}
	return nil
}

// acked tells the Kicker whose ack did something, each party once in a row.
func (h *Hub) acked(owner edition.Owner, u edition.Update) {
	var last edition.Holder
	for i, e := range u {
		party := edition.Holder{Owner: owner, UAID: e.UAID}.Party()
		if i == 0 || party != last {
			h.kick.Acked(party)
			last = party
		}
	}
}

// Drain refuses events from now on and lets nobody be kicked.
func (h *Hub) Drain() { h.draining.Store(true) }

func (h *Hub) due(party edition.Holder) {
	if h.kick == nil || !h.store.Kickable(party) || h.kick.Due(party) {
		return
	}
	select {
	case h.rescan <- struct{}{}:
	default:
	}
}

const (
	scanChunk = 512                    // parties read from the store at once
	scanRest  = 4                      // times as long as reading a chunk took, before the next: kicks can wait
	scanPause = 100 * time.Millisecond // when the Kicker is full
	scanAgain = 10 * time.Second       // when the store could not be read
	scanEvery = 10 * time.Minute       // even when nothing was refused
)

// Run finds the kicks that are due from the store, at the start and whenever
// the Kicker was full, until ctx ends. Its memory does not grow with their
// number.
func (h *Hub) Run(ctx context.Context) error {
	if h.kick == nil {
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		next := scanEvery
		if err := h.scanDue(ctx); err != nil {
			h.log.Warn("cannot read due kicks", "err", err)
			next = scanAgain
		}
		select {
		case <-ctx.Done():
		case <-h.rescan:
			sleep(ctx, scanPause)
		case <-time.After(next):
		}
	}
	return nil
}

func (h *Hub) scanDue(ctx context.Context) error {
	var after edition.Holder
	buf := make([]edition.Holder, 0, scanChunk)
	for ctx.Err() == nil {
		start := time.Now()
		found, err := h.store.Due(buf[:0], after, scanChunk)
		if err != nil {
			return err
		}
		took := time.Since(start)
		for _, party := range found {
			if !h.store.Kickable(party) {
				continue
			}
			for ctx.Err() == nil && !h.draining.Load() && !h.Connected(party) && !h.kick.Found(party) {
				sleep(ctx, scanPause)
			}
		}
		if len(found) < scanChunk {
			return nil
		}
		after = found[len(found)-1]
		sleep(ctx, scanRest*took)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
