package gateway

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/edition-push/edition"
)

// bucket is a token bucket.
type bucket struct {
	rate   float64 // tokens a second
	burst  float64
	tokens float64
	last   time.Time
}

func newBucket(rate float64, burst int) bucket {
	n := float64(max(burst, 1))
	return bucket{rate: rate, burst: n, tokens: n, last: time.Now()}
}

func (b *bucket) fill(now time.Time) {
	b.tokens = min(b.burst, b.tokens+b.rate*max(0, now.Sub(b.last).Seconds()))
	b.last = now
}

// wait is how long there is no token yet.
func (b *bucket) wait(now time.Time) time.Duration {
	b.fill(now)
	if b.tokens >= 1 {
		return 0
	}
	return max(time.Millisecond, time.Duration((1-b.tokens)/b.rate*float64(time.Second)))
}

// take takes a token, or says how long there is none.
func (b *bucket) take(now time.Time) time.Duration {
	wait := b.wait(now)
	if wait == 0 {
		b.tokens--
	}
	return wait
}

const (
	guessRate  = 1    // wrong tokens a second from one address
	guessBurst = 20   // at once
	maxGuesses = 4096 // addresses that are remembered
)

// guesses limits how often an address may show a wrong token. Its size is
// bounded: when it is full, those are forgotten who may guess at will again,
// and if there is none, all.
type guesses struct {
	mu sync.Mutex
	by map[netip.Prefix]*bucket // Guarded by mu.
}

func newGuesses() *guesses { return &guesses{by: make(map[netip.Prefix]*bucket)} }

// source is what counts as one address: of IPv6 a whole network, which one
// site has for itself.
func source(from netip.Addr) netip.Prefix {
	bits := 32
	if from.Is6() {
		bits = 64
	}
	p, _ := from.Prefix(bits)
	return p
}

// check is ErrTooMany while an address may not try.
func (g *guesses) check(from netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.by[source(from)]; b != nil {
		if wait := b.wait(time.Now()); wait > 0 {
			return edition.RetryAfter(fmt.Errorf("%w: wrong tokens from this address", edition.ErrTooMany), wait)
		}
	}
	return nil
}

// wrong notes a wrong token.
func (g *guesses) wrong(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, who := time.Now(), source(from)
	b := g.by[who]
	if b == nil {
		if len(g.by) >= maxGuesses {
			g.forget(now)
		}
		fresh := newBucket(guessRate, guessBurst)
		b = &fresh
		g.by[who] = b
	}
	b.take(now)
}

func (g *guesses) forget(now time.Time) {
	for who, b := range g.by {
		if b.fill(now); b.tokens >= b.burst {
			delete(g.by, who)
		}
	}
	if len(g.by) >= maxGuesses {
		clear(g.by)
	}
}
