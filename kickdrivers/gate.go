package kickdrivers

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// breakMax bounds how long a breaker stays open.
const breakMax = 5 * time.Minute

// gate is one entry at work: its driver, its rate, its breaker, and the
// parties and errands that wait for one of these.
type gate struct {
	// Fixed after construction.
	name   string
	kind   string
	print  string // see Entry.Fingerprint
	driver driver.Driver
	counts *[outcomes]tally
	took   prometheus.Observer // seconds from kick to connect
	acked  prometheus.Observer // seconds from kick to ACK
	open   prometheus.Gauge

	// Guarded by Dispatcher.mu.
	policy   Policy
	budget   *budget // of its targets; nil: no limit
	slot     uint8   // in Dispatcher.slots
	retired  bool    // no longer in the list; closed when users is 0
	users    int     // who has the driver in hand: batches, checks
	queue    list
	errands  []*errand
	turn     bool    // whose turn it is when there is room for one: an errand's
	inFlight int     // batches
	tokens   float64 // kicks that may go now
	filled   int64   // when tokens was true
	fails    int     // of the provider, in a row
	broken   time.Duration
	until    int64 // the breaker is open until then; 0: closed

	batch *batch // Owned by Run: being filled; else nil.
}

// fill adds the tokens of the time that has passed.
func (g *gate) fill(now int64) {
	if g.policy.Rate == 0 {
		g.tokens = math.Inf(1)
		return
	}
	// A burst of less than a tick's worth would lower the rate.
	burst := max(float64(g.policy.Burst), g.policy.Rate*2*tick.Seconds())
	g.tokens = min(burst, g.tokens+float64(now-g.filled)/1e9*g.policy.Rate)
	g.filled = now
}

// room is how many kicks may be handed to the driver now.
func (g *gate) room(now int64) int {
	switch {
	case g.until > now, g.inFlight >= g.policy.Parallel:
		return 0
	case g.until != 0: // half open: one kick probes
		return max(0, 1-g.inFlight)
	}
	g.fill(now)
	return int(min(g.tokens, batchSize))
}

// down reports whether the provider is taken to be down and not to be probed
// now.
func (g *gate) down(now int64) bool {
	return g.until > now || g.until != 0 && g.inFlight > 0
}

// opens is when there may be room. ok is false when the end of a batch will
// tell.
func (g *gate) opens(now int64) (at int64, ok bool) {
	switch {
	case g.inFlight >= g.policy.Parallel, g.until != 0 && g.inFlight > 0:
		return 0, false
	case g.until != 0:
		return max(g.until, now), true
	}
	g.fill(now)
	if g.tokens >= 1 {
		return now, true
	}
	return now + max(int64(tick), int64((1-g.tokens)/g.policy.Rate*1e9)), true
}

// passed and failed tell the breaker about one attempt each. Both report
// whether the breaker has moved.
func (g *gate) passed() bool {
	g.fails = 0
	was := g.until != 0
	g.until, g.broken = 0, 0
	return was
}

// failed is told after is when the provider wants to be asked again, 0 when it
// has not said so.
func (g *gate) failed(now int64, after time.Duration) bool {
	g.fails++
	probe := g.until != 0 && now >= g.until
	switch {
	case g.policy.BreakAfter == 0, g.until != 0 && !probe:
		return false
	case !probe && after == 0 && g.fails < g.policy.BreakAfter:
		return false
	}
	g.broken = min(max(g.policy.BreakFor, 2*g.broken), breakMax)
	if after > 0 && !probe && g.fails < g.policy.BreakAfter {
		g.broken = 0
	}
	g.until = now + max(int64(g.broken), int64(min(after, breakMax)))
	return true
}
