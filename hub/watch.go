package hub

import (
	"sync"
	"sync/atomic"

	"github.com/edition-push/edition"
)

// watchers are who waits for an ack of one event. While nobody does, an ack
// costs one atomic load more.
type watchers struct {
	n  atomic.Int64
	mu sync.Mutex
	by map[edition.Key][]chan struct{} // Guarded by mu.
}

// Watch returns a doorbell that rings when an event of a key is acknowledged,
// by a device or by a relay. end gives it back. Look at the store after Watch,
// and again after each ring.
func (h *Hub) Watch(k edition.Key) (bell <-chan struct{}, end func()) {
	w, c := &h.watch, make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = make(map[edition.Key][]chan struct{})
	}
	w.by[k] = append(w.by[k], c)
	w.n.Add(1)
	return c, func() { w.end(k, c) }
}

func (w *watchers) end(k edition.Key, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.by[k]
	for i := range all {
		if all[i] != c {
			continue
		}
		w.n.Add(-1)
		all[i] = all[len(all)-1]
		if all = all[:len(all)-1]; len(all) == 0 {
			delete(w.by, k)
		} else {
			w.by[k] = all
		}
		return
	}
}

// ring tells those who wait for an ack of an event of u.
func (w *watchers) ring(u edition.Update) {
	if w.n.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range u {
		for _, c := range w.by[u[i].Key] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}
