package publish

import (
	"sync"
	"sync/atomic"
	"time"
)

// patience tells who waits that the limit has passed. One timer serves all who
// began within a quarter of it, so they are told up to that much late: the
// limit is for disks that hang.
type patience struct {
	limit time.Duration

	mu  sync.Mutex
	now atomic.Pointer[shift] // Set under mu
}

// shift is a time in which waits begin that end together.
type shift struct {
	end  time.Time     // of the beginning
	over chan struct{} // closed a limit later
}

// from returns what is closed when a wait that begins now has taken too long.
func (p *patience) from(now time.Time) <-chan struct{} {
	if s := p.now.Load(); s != nil && now.Before(s.end) {
		return s.over
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.now.Load(); s != nil && now.Before(s.end) {
		return s.over
	}
	s := &shift{end: now.Add(p.limit / 4), over: make(chan struct{})}
	time.AfterFunc(p.limit+p.limit/4, func() { close(s.over) })
	p.now.Store(s)
	return s.over
}
