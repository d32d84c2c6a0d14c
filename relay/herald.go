package relay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

const (
	heraldBatch = 500     // devices in one hello
	maxPresent  = 1 << 20 // devices that wait to be presented, 24 bytes and a map's share each
)

// herald gathers the devices that upstream is to be told of: those it is asked
// to prove, and those that it is only told have shown up. While one hello is on
// its way the next batch gathers.
type herald struct {
	bell chan struct{} // doorbell of keepHeralding

	mu      sync.Mutex
	claims  []*claim               // Guarded by mu
	showing map[edition.UAID]int64 // Guarded by mu; when they showed up, Unix milliseconds; at most maxPresent
}

var errAway = fmt.Errorf("%w: not connected to upstream", edition.ErrUnavailable)

// claim is one Claim's question to one upstream.
type claim struct {
	who    []edition.Credential
	proven map[edition.UAID]bool
	answer chan error // capacity 1
}

func newHerald() herald {
	return herald{bell: make(chan struct{}, 1), showing: make(map[edition.UAID]int64)}
}

// present notes a device and when it showed up, if there is room: while upstream
// is away for long nothing is lost by forgetting, only the move of a roaming
// device is late.
func (u *upstream) present(uaid edition.UAID, at int64) {
	u.herald.mu.Lock()
	full := len(u.herald.showing) >= maxPresent
	if !full {
		u.herald.showing[uaid] = max(at, u.herald.showing[uaid])
	}
	u.herald.mu.Unlock()
	if full {
		u.m.presented.WithLabelValues("dropped").Inc()
		return
	}
	ring(u.herald.bell)
}

// claim asks upstream which credentials it believes.
func (u *upstream) claim(ctx context.Context, who []edition.Credential) (map[edition.UAID]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	proven := make(map[edition.UAID]bool)
	for len(who) > 0 {
		n := min(len(who), heraldBatch)
		c := &claim{who: who[:n], proven: make(map[edition.UAID]bool), answer: make(chan error, 1)}
		who = who[n:]
		u.herald.mu.Lock()
		u.herald.claims = append(u.herald.claims, c)
		u.herald.mu.Unlock()
		ring(u.herald.bell)
		select {
		case err := <-c.answer:
			if err != nil {
				return proven, err
			}
			for uaid := range c.proven {
				proven[uaid] = true
			}
		case <-ctx.Done():
			u.herald.drop(c)
			return proven, fmt.Errorf("%w: %w", edition.ErrUnavailable, context.Cause(ctx))
		}
	}
	return proven, nil
}

// drop forgets a claim that nobody waits for any more.
func (h *herald) drop(c *claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claims = slices.DeleteFunc(h.claims, func(o *claim) bool { return o == c })
}

// batch is what one hello says.
type batch struct {
	agents []wire.Agent
	shown  map[edition.UAID]int64  // of those that are only presented, as herald.showing
	asked  map[edition.UAID]*claim // nil for one that is only presented
	claims []*claim
}

// next takes the next batch. Claims go first. A UAID is in it once, because the
// answer names UAIDs only: two claims to one must not be taken for each other.
func (u *upstream) next() batch {
	h := &u.herald
	h.mu.Lock()
	defer h.mu.Unlock()
	b := batch{asked: make(map[edition.UAID]*claim), shown: make(map[edition.UAID]int64)}
	now := time.Now().UnixMilli()
	for len(h.claims) > 0 && len(b.agents)+len(h.claims[0].who) <= heraldBatch {
		c := h.claims[0]
		if slices.ContainsFunc(c.who, func(w edition.Credential) bool { return b.asked[w.UAID] != nil }) {
			break
		}
		h.claims = h.claims[1:]
		b.claims = append(b.claims, c)
		for _, w := range c.who {
			b.asked[w.UAID] = c
			b.agents = append(b.agents, wire.Agent{UAID: w.UAID, Proof: &w.Proof})
		}
	}
	for uaid, at := range h.showing {
		if len(b.agents) >= heraldBatch {
			break
		}
		delete(h.showing, uaid)
		if _, twice := b.asked[uaid]; twice {
			continue
		}
		a, err := u.relay.store.Agent(uaid)
		if err != nil {
			continue // unregistered meanwhile
		}
		b.asked[uaid], b.shown[uaid] = nil, at
		b.agents = append(b.agents, wire.Agent{UAID: uaid, Proof: &a.Proof, Age: max(0, now-at)})
	}
	return b
}

// keepHeralding sends batches while there is a connection. Without one claims
// fail at once, and who has shown up waits for it.
func (u *upstream) keepHeralding(ctx context.Context) error {
	defer u.failClaims(fmt.Errorf("%w: shutting down", edition.ErrUnavailable))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.herald.bell:
		}
		for ctx.Err() == nil {
			if !u.client.State().Connected {
				u.failClaims(errAway)
				break
			}
			b := u.next()
			if len(b.agents) == 0 {
				break
			}
			u.say(ctx, b)
		}
	}
}

func (u *upstream) failClaims(err error) {
	u.herald.mu.Lock()
	defer u.herald.mu.Unlock()
	for _, c := range u.herald.claims {
		c.answer <- err
	}
	u.herald.claims = nil
}

// say sends one batch and hands the answers out. A device that was only
// presented and is refused stays here as it is: its pending events can still be
// delivered, and only the device itself can register its apps anew.
func (u *upstream) say(ctx context.Context, b batch) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	accepted, refused, err := u.client.Hello(call, b.agents)
	cancel()
	if err != nil {
		u.log.Info("upstream was not told which devices have shown up", "devices", len(b.agents), "err", err)
		for _, c := range b.claims {
			c.answer <- err
		}
		for uaid, at := range b.shown {
			u.present(uaid, at)
		}
		pause(ctx, reportPause)
		return
	}
	for _, uaid := range accepted {
		if c, here := b.asked[uaid]; !here {
			continue
		} else if c != nil {
			c.proven[uaid] = true
		} else {
			u.m.presented.WithLabelValues("accepted").Inc()
		}
	}
	for _, uaid := range refused {
		if c, here := b.asked[uaid]; here && c == nil {
			u.m.presented.WithLabelValues("refused").Inc()
			u.log.Warn("upstream does not know a device that is registered here", "uaid", uaid)
		}
	}
	for _, c := range b.claims {
		c.answer <- nil
	}
}
