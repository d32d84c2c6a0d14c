// Package patience has contexts that end when something has taken too long, one
// for all that begins at about the same time: a timer for each would cost more
// than what most of them guard.
package patience

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Patience gives what begins at least its limit. It is safe for concurrent use.
type Patience struct {
	base  context.Context
	limit time.Duration

	mu  sync.Mutex
	now atomic.Pointer[shift] // Set under mu
}

// shift is a time; all that begins before it ends together.
type shift struct {
	until time.Time
	ctx   context.Context
}

// New returns a Patience of a limit, whose contexts end with base too.
func New(base context.Context, limit time.Duration) *Patience {
	return &Patience{base: base, limit: limit}
}

// From returns a context for what begins now: it ends with DeadlineExceeded
// between the limit and a quarter more later.
func (p *Patience) From(now time.Time) context.Context {
	if s := p.now.Load(); s != nil && now.Before(s.until) {
		return s.ctx
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.now.Load(); s != nil && now.Before(s.until) {
		return s.ctx
	}
	more := p.limit / 4
	ctx, cancel := context.WithTimeout(p.base, p.limit+more)
	context.AfterFunc(ctx, cancel) // it ends by itself; vet wants cancel to be called
	p.now.Store(&shift{now.Add(more), ctx})
	return ctx
}
