package hub

import (
	"sync"
	"sync/atomic"

	"github.com/edition-push/edition"
)

// maxQuiet bounds the devices that are remembered to be quiet. Of others it is
// forgotten: then a message wakes them once, and they say it again.
const maxQuiet = 1 << 20

// quiet is which devices are not to be woken by messages of less than some
// urgency. It is not durable: a device says it with each hello.
type quiet struct {
	n   atomic.Int64
	mu  sync.RWMutex
	min map[edition.UAID]edition.Urgency // Guarded by mu; never UrgencyVeryLow
}

// Urgency notes of what urgency messages wake a device from now on.
func (h *Hub) Urgency(uaid edition.UAID, least edition.Urgency) {
	q := &h.quiet
	if least == edition.UrgencyVeryLow && q.n.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if least == edition.UrgencyVeryLow {
		delete(q.min, uaid)
	} else {
		if q.min == nil {
			q.min = make(map[edition.UAID]edition.Urgency)
		}
		for other := range q.min {
			if len(q.min) < maxQuiet {
				break
			}
			delete(q.min, other)
		}
		q.min[uaid] = least
	}
	q.n.Store(int64(len(q.min)))
}

// least returns of what urgency messages wake a device.
func (q *quiet) least(uaid edition.UAID) edition.Urgency {
	if q.n.Load() == 0 {
		return edition.UrgencyVeryLow
	}
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.min[uaid]
}

// urgent reports whether any of the events that wait for a device is one that
// it wants to be woken for: a version, or a message of that urgency.
func (h *Hub) urgent(u edition.Update, least edition.Urgency) (bool, error) {
	if least == edition.UrgencyVeryLow {
		return len(u) > 0, nil
	}
	u, err := h.store.Urgent(u, least)
	return len(u) > 0, err
}
