package kickdrivers

import (
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Words for the state of a breaker.
const (
	BreakerShut  = "closed"    // kicks go
	BreakerUp    = "open"      // kicks wait
	BreakerProbe = "half-open" // one kick may go, to see whether the provider works again
)

// EntryState is what one entry is doing.
type EntryState struct {
	Name    string `json:"name"`
	Driver  string `json:"driver"`
	Breaker string `json:"breaker"` // one of the words for its state
	// Wait is how long an open breaker stays so, in nanoseconds.
	Wait time.Duration `json:"wait_ns,omitempty"`
	// Queued are parties that wait for the rate, for a place or for the
	// breaker; Errands are kicks that were asked for and do so; Flying are
	// batches in the driver's hands.
	Queued  int     `json:"queued"`
	Errands int     `json:"errands"`
	Flying  int     `json:"flying"`
	Rate    float64 `json:"rate"` // kicks a second; 0: no limit
	// Outcomes counts since the start of the process, by an Outcome's word.
	Outcomes map[string]uint64 `json:"outcomes"`
}

// Entries returns the state of all entries, in the order of the list.
func (d *Dispatcher) Entries() []EntryState {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	all := make([]EntryState, len(d.gates))
	for i, g := range d.gates {
		s := EntryState{
			Name: g.name, Driver: g.kind, Breaker: BreakerShut,
			Queued: g.queue.n, Errands: len(g.errands), Flying: g.inFlight, Rate: g.policy.Rate,
			Outcomes: make(map[string]uint64, outcomes),
		}
		switch {
		case g.until > now:
			s.Breaker, s.Wait = BreakerUp, time.Duration(g.until-now)
		case g.until != 0:
			s.Breaker = BreakerProbe
		}
		for o := range outcomes {
			s.Outcomes[o.String()] = g.counts[o].n.Load()
		}
		all[i] = s
	}
	return all
}

// shows reports whether a gate's driver would send something to a route now.
func (d *Dispatcher) shows(g *gate, r edition.Route) bool {
	d.mu.Lock()
	down := g.until != 0
	d.mu.Unlock()
	if down {
		return false
	}
	_, err := g.driver.Show(driver.Kick{Target: r.Target})
	return err == nil
}
