package kickdrivers

import (
	"fmt"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// maxEntries is what party.entry can number.
const maxEntries = 200

// Reload takes another list of entries in place of the one there is. An entry
// with the name, the driver and the fingerprint of one that is there keeps its
// driver, and takes over the new policy; the others are opened before anything
// changes. What is under way ends on the old drivers, which are then closed;
// those who wait at them wait at the new ones of the same name. An error names
// the entry and changes nothing.
func (d *Dispatcher) Reload(entries []Entry) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.mu.Lock()
	old, done := d.byName, d.done
	d.mu.Unlock()
	if done {
		return errEnds
	}
	if len(entries) > maxEntries {
		return fmt.Errorf("%w: kicks: %d entries are more than %d", edition.ErrConfig, len(entries), maxEntries)
	}
	next, opened := make([]*gate, len(entries)), []*gate(nil)
	seen := make(map[string]bool, len(entries))
	for i, e := range entries {
		var err error
		switch g := old[e.Name]; {
		case seen[e.Name]:
			err = fmt.Errorf("%w: %w", edition.ErrConfig, errTwice)
		case g != nil && g.kind == e.Driver && g.print == e.Fingerprint && g.print != "":
			next[i] = g
		default:
			if next[i], err = d.openGate(e); err == nil {
				opened = append(opened, next[i])
			}
		}
		if err != nil {
			d.closeAll(opened)
			return fmt.Errorf("kicks[%d] (%s): %w", i, e.Name, err)
		}
		seen[e.Name] = true
	}
	d.mu.Lock()
	closing := d.swap(next, entries)
	d.ring()
	d.mu.Unlock()
	d.closeAll(closing)
	return nil
}

func (d *Dispatcher) openGate(e Entry) (*gate, error) {
	name := e.Name
	made, err := e.Open(driver.Env{
		Log:     d.log.With("driver", name),
		Receipt: func(state string) { d.metrics.receipts.WithLabelValues(name, state).Inc() },
		Through: d.through,
	})
	if err != nil {
		return nil, err
	}
	g := &gate{
		name: name, kind: e.Driver, print: e.Fingerprint, driver: made,
		queue: newList(), tokens: float64(e.Policy.Burst), filled: d.now(),
	}
	d.metrics.gate(g)
	return g, nil
}

// swap puts another list in place and returns the gates that can be closed
// now. Guarded by mu.
func (d *Dispatcher) swap(next []*gate, entries []Entry) (closing []*gate) {
	old := d.gates
	d.gates, d.byName = next, make(map[string]*gate, len(next))
	d.table.limit, d.grace = 0, 0
	for i, g := range next {
		d.byName[g.name] = g
		p := entries[i].Policy
		if g.budget == nil || p.TargetRate != g.policy.TargetRate || p.TargetBurst != g.policy.TargetBurst || p.counters() != g.policy.counters() {
			g.budget = p.newBudget()
		}
		g.policy = p
		d.table.limit = min(d.table.limit+p.MaxWaiting, maxWaiting)
		if i == 0 || p.Grace < d.grace {
			d.grace = p.Grace
		}
	}
	var gone []*gate
	for _, g := range old {
		if d.byName[g.name] != g {
			g.retired = true
			gone = append(gone, g)
		}
	}
	d.number(gone)
	now := d.now()
	for _, g := range gone {
		g.open.Set(0)
		d.disperse(g, now)
		if g.users == 0 {
			closing = append(closing, g)
		}
	}
	if len(old) > 0 {
		d.reconsider(now)
	}
	return closing
}

// number gives the slots of gates that are gone to those of the same name, and
// slots to all others that have none. Parties keep the number of their entry.
func (d *Dispatcher) number(gone []*gate) {
	taken := make(map[*gate]bool, len(d.gates))
	for _, g := range d.slots {
		if g != nil && !g.retired {
			taken[g] = true
		}
	}
	for _, g := range gone {
		heir := d.byName[g.name]
		d.slots[g.slot] = heir
		if heir != nil {
			heir.slot = g.slot
			taken[heir] = true
		}
	}
	free := 0
	for _, g := range d.gates {
		if taken[g] {
			continue
		}
		for d.slots[free] != nil {
			free++
		}
		d.slots[free], g.slot = g, uint8(free)
	}
}

// reconsider looks at every party after a reload: none may stay with an entry
// that is no more, and what the old list did not allow the new one may.
func (d *Dispatcher) reconsider(now int64) {
	for i := range d.table.high {
		p := d.table.at(i)
		if p.state == free {
			continue
		}
		if p.entry != noEntry && d.slots[p.entry] == nil {
			d.unack(p)
			p.entry, p.sent = noEntry, false
		}
		if p.state == resting {
			d.wheel.remove(&d.table, i)
			p.given = false
			d.wait(i, p, now)
		}
	}
}
