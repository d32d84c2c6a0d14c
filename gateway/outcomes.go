package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"github.com/edition-push/edition/wire"
)

// The states of a kick.
const (
	stateWaiting = "waiting" // more may become known
	stateDone    = "done"
)

// outcomes are the kicks that can be asked for: for a time, and so many of
// each caller.
type outcomes struct {
	// Fixed after construction.
	keep  time.Duration
	limit int

	mu   sync.Mutex
	byID map[string]*kick // Guarded by mu, as are the callers' lists.
}

// kick is one that was asked for.
type kick struct {
	// Fixed after construction.
	id       string
	caller   *caller
	since    time.Time
	reported chan struct{} // closed when there is an outcome

	mu     sync.Mutex
	result wire.WakeResult // Guarded by mu.
	done   bool            // Guarded by mu.
}

func newOutcomes(keep time.Duration, limit int) *outcomes {
	return &outcomes{keep: keep, limit: limit, byID: make(map[string]*kick)}
}

// add makes a kick under a name of 128 random bits: nobody can guess it, not
// even a caller those of its own kicks.
func (o *outcomes) add(c *caller) *kick {
	var id [16]byte
	rand.Read(id[:]) // never fails
	k := &kick{id: hex.EncodeToString(id[:]), caller: c, since: time.Now(), reported: make(chan struct{})}
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(c.kicks) > 0 && (len(c.kicks) >= o.limit || o.over(c.kicks[0])) {
		delete(o.byID, c.kicks[0].id)
		c.kicks[0] = nil
		c.kicks = c.kicks[1:]
	}
	c.kicks = append(c.kicks, k)
	o.byID[k.id] = k
	return k
}

func (o *outcomes) over(k *kick) bool { return time.Since(k.since) > o.keep }

// remove forgets a kick that was not sent. Its place in the caller's list is
// given up in its time.
func (o *outcomes) remove(k *kick) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byID, k.id)
	if last := len(k.caller.kicks) - 1; last >= 0 && k.caller.kicks[last] == k {
		k.caller.kicks = k.caller.kicks[:last]
	}
}

// get returns a kick, nil when it is not kept.
func (o *outcomes) get(id string) *kick {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k := o.byID[id]; k != nil && !o.over(k) {
		return k
	}
	return nil
}

func (o *outcomes) size() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return float64(len(o.byID))
}

func (k *kick) report(r wire.WakeResult, final bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done {
		return
	}
	first := k.result.Outcome == ""
	k.result, k.done = r, final
	if first {
		close(k.reported)
	}
}

func (k *kick) state() wire.WakeState {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := wire.WakeState{ID: k.id, State: stateWaiting, Since: k.since, WakeResult: k.result}
	if k.done {
		s.State = stateDone
	}
	return s
}
