package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency collects times from many goroutines, to three digits, from 1 µs to
// a minute.
type Latency struct {
	parts [8]struct {
		mu sync.Mutex
		h  *hdrhistogram.Histogram // Guarded by mu.
		_  [64]byte                // a cache line between two of them
	}
}

// NewLatency returns an empty collection.
func NewLatency() *Latency {
	l := &Latency{}
	for i := range l.parts {
		l.parts[i].h = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	}
	return l
}

// Add records one time; who spreads the callers.
func (l *Latency) Add(who int, d time.Duration) {
	p := &l.parts[who%len(l.parts)]
	p.mu.Lock()
	p.h.RecordValue(min(max(1, d.Microseconds()), time.Minute.Microseconds())) //nolint:errcheck // in range
	p.mu.Unlock()
}

// Count returns how many times were recorded.
func (l *Latency) Count() int { return int(l.merged().TotalCount()) }

// Quantile returns the time that a share q of all, from 0 to 1, did not exceed.
func (l *Latency) Quantile(q float64) time.Duration {
	return time.Duration(l.merged().ValueAtQuantile(q*100)) * time.Microsecond
}

func (l *Latency) merged() *hdrhistogram.Histogram {
	sum := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	for i := range l.parts {
		p := &l.parts[i]
		p.mu.Lock()
		sum.Merge(p.h)
		p.mu.Unlock()
	}
	return sum
}
