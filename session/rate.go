package session

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/edition-push/edition"
)

// bucket is a token bucket on a coarse clock, small enough to stand in every
// connection.
type bucket struct {
	tokens float32
	last   time.Duration
}

// take takes one token, if there is one.
func (b *bucket) take(now time.Duration, rate float64, burst int) bool {
	if now > b.last {
		b.tokens = min(float32(burst), b.tokens+float32(rate*(now-b.last).Seconds()))
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// rates limits registrations by address. Its size is bounded: when it is full,
// buckets that are full again are forgotten, and if there is none all are.
type rates struct {
	rate  float64
	burst int

	mu sync.Mutex
	by map[netip.Prefix]bucket // Guarded by mu.
}

// maxRates bounds the addresses that are remembered.
const maxRates = 64 << 10

func newRates(rate float64, burst int) *rates {
	return &rates{rate: rate, burst: burst, by: make(map[netip.Prefix]bucket)}
}

// take is ErrTooMany when an address has asked too often.
func (r *rates) take(now time.Duration, from netip.Addr) error {
	if r.rate < 0 {
		return nil
	}
	bits := 32
	if from.Is6() {
		bits = 64
	}
	who, _ := from.Prefix(bits)
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.by[who]
	if !ok {
		if len(r.by) >= maxRates {
			r.forget(now)
		}
		b = bucket{tokens: float32(r.burst), last: now}
	}
	fits := b.take(now, r.rate, r.burst)
	r.by[who] = b
	if !fits {
		after := time.Duration(float64(time.Second) / r.rate)
		return edition.RetryAfter(fmt.Errorf("%w: more than %g registrations a second from one address",
			edition.ErrTooMany, r.rate), max(after, time.Second))
	}
	return nil
}

func (r *rates) forget(now time.Duration) {
	for who, b := range r.by {
		if float64(b.tokens)+r.rate*(now-b.last).Seconds() >= float64(r.burst) {
			delete(r.by, who)
		}
	}
	if len(r.by) >= maxRates {
		clear(r.by)
	}
}
