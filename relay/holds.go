package relay

import (
	"context"
	"sync"

	"github.com/edition-push/edition"
)

// holds orders what happens to one device: while its registration is on its
// way, between upstream's yes and our own store's, an UPDATE for it may come
// already and must not be taken for one about a stranger.
type holds struct {
	mu   sync.Mutex
	held map[edition.UAID]chan struct{} // Guarded by mu; closed on release
}

func newHolds() *holds { return &holds{held: make(map[edition.UAID]chan struct{})} }

// acquire waits until nobody else holds the device and holds it. Who acquires
// several does so in ascending order.
func (h *holds) acquire(ctx context.Context, uaid edition.UAID) error {
	for {
		h.mu.Lock()
		other, taken := h.held[uaid]
		if !taken {
			h.held[uaid] = make(chan struct{})
		}
		h.mu.Unlock()
		if !taken {
			return nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (h *holds) release(uaid edition.UAID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.held[uaid])
	delete(h.held, uaid)
}

// split returns the events of devices that nobody holds, and the others.
func (h *holds) split(l load) (free, held load) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		return l, load{}
	}
	for i, e := range l.events {
		if _, taken := h.held[e.UAID]; taken {
			held.add(l, i)
		} else {
			free.add(l, i)
		}
	}
	return free, held
}

// wait returns when the device has been released once.
func (h *holds) wait(ctx context.Context, uaid edition.UAID) {
	h.mu.Lock()
	other, taken := h.held[uaid]
	h.mu.Unlock()
	if !taken {
		return
	}
	select {
	case <-other:
	case <-ctx.Done():
	}
}
