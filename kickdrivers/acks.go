package kickdrivers

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/edition-push/edition"
)

// ackWait is how long after it connected an ack of a party is taken for the
// effect of a kick.
const ackWait = time.Minute

// ackFilter says of almost every party, without a lock, that no ack of it is
// waited for.
type ackFilter struct {
	seed  maphash.Seed
	count [1 << 12]atomic.Int32 // of those that are waited for, by hash
}

func (f *ackFilter) init() { f.seed = maphash.MakeSeed() }

func (f *ackFilter) of(who edition.Holder) *atomic.Int32 {
	return &f.count[maphash.Comparable(f.seed, who)%uint64(len(f.count))]
}

// Acked says that a party has acknowledged something. For one that was not
// kicked lately it costs a hash.
func (d *Dispatcher) Acked(who edition.Holder) {
	if d.acks.of(who).Load() == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i, known := d.table.index[who]
	if !known {
		return
	}
	p := d.table.at(i)
	if !p.acking {
		return
	}
	now := d.now()
	d.slots[p.entry].acked.Observe(seconds(now - p.last))
	d.unack(p)
	if p.state != cooling {
		return
	}
	d.wheel.remove(&d.table, i)
	if p.pause > now {
		d.setTimer(i, p.pause)
		return
	}
	d.drop(i)
}

// await notes that a party's next ack is to be measured.
func (d *Dispatcher) await(p *party) {
	if !p.acking {
		p.acking = true
		d.acks.of(p.who).Add(1)
	}
}

func (d *Dispatcher) unack(p *party) {
	if p.acking {
		p.acking = false
		d.acks.of(p.who).Add(-1)
	}
}
