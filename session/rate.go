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

// rates limits what addresses ask for. Its size is bounded: when it is full,
// buckets that are full again are forgotten, and if there is none all are.
type rates struct {
	what  string
	rate  float64
	burst int

	mu sync.Mutex
	by map[netip.Prefix]bucket // Guarded by mu.
}

// maxRates bounds the addresses that are remembered.
const maxRates = 64 << 10

func newRates(what string, rate float64, burst int) *rates {
	return &rates{what: what, rate: rate, burst: burst, by: make(map[netip.Prefix]bucket)}
}

// take is ErrTooMany when an address has asked too often.
func (r *rates) take(now time.Duration, from netip.Addr) error {
	if r.rate < 0 {
		return nil
	}
	who := network(from)
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
		return edition.RetryAfter(fmt.Errorf("%w: more than %g %s a second from one address",
			edition.ErrTooMany, r.rate, r.what), max(after, time.Second))
	}
	return nil
}

// network is what counts as one address: an IPv4 one, or an IPv6 /64.
func network(from netip.Addr) netip.Prefix {
	bits := 32
	if from.Is6() {
		bits = 64
	}
	who, _ := from.Prefix(bits)
	return who
}

// giveBack undoes a take that is not to count.
func (r *rates) giveBack(from netip.Addr) {
	who := network(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.by[who]; ok {
		b.tokens = min(b.tokens+1, float32(r.burst))
		r.by[who] = b
	}
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
