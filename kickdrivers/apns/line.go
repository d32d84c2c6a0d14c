package apns

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/edition-push/edition/kickdrivers/outbound"
)

// line is one connection at a time. It is made when it is first used, kept for
// good, as Apple asks, and replaced when it is lost, or when the other end has
// said goodbye and all requests on it are answered.
//
// It counts streams itself. http.Transport cannot: it opens more connections
// when the streams of one are taken, and told not to it stands still, since
// waiting requests take the places that they wait for (golang/go#70809).
type line struct {
	dial func() (*http.ClientConn, error)
	busy atomic.Int32 // requests that have a stream or wait for one

	mu sync.Mutex
	// Guarded by mu, which is not held when a method of conn is called: it
	// may call changed.
	conn    *conn
	dialing *dialing
	waiting []chan struct{} // each is closed when there may be room
}

// conn is a connection. Until its first request is answered there is no
// second one: only then are the other end's limits known, and Apple allows one
// stream before it has seen a valid token.
type conn struct {
	*http.ClientConn

	mu sync.Mutex // streams are reserved by one goroutine at a time
	// Guarded by mu.
	used     bool // there has been a request
	first    bool // it is under way
	answered bool // it has been answered
}

// dialing is a connection being made. Its result is there when done is closed.
type dialing struct {
	done chan struct{}
	err  error
}

// all is a number of waiting requests that no line has.
const all = math.MaxInt

var errUseless = errors.New("the other end takes no requests")

// reserve returns a connection with a stream that is the caller's. It is to be
// used for one request and then handed to done.
func (l *line) reserve(ctx context.Context) (*conn, error) {
	for {
		c, err := l.get(ctx)
		if err != nil {
			return nil, err
		}
		if c.reserve() {
			return c, nil
		}
		// Queue before looking again, so that no news is missed.
		w := l.queue()
		if c.reserve() {
			l.leave(w)
			return c, nil
		}
		if usable, used := c.state(); !usable {
			l.leave(w)
			l.drop(c)
			if !used { // else there would be no end of connecting
				return nil, errUseless
			}
			continue
		}
		select {
		case <-w:
		case <-ctx.Done():
			l.leave(w)
			return nil, context.Cause(ctx)
		}
	}
}

func (c *conn) reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answered && c.first || c.Reserve() != nil {
		return false
	}
	c.used, c.first = true, !c.answered
	return true
}

// state reports whether there will be room, now or when a request has ended,
// and whether there has been a request. With none under way there is room,
// unless the other end has said goodbye.
func (c *conn) state() (usable, used bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Err() == nil && (c.InFlight() > 0 || c.Available() > 0), c.used
}

// done ends a request. answered says that the other end has said something.
func (l *line) done(c *conn, answered bool) {
	c.mu.Lock()
	before := c.answered
	c.answered = before || answered
	c.first = false
	c.mu.Unlock()
	if !before {
		l.wake(all)
	}
}

// get returns the connection, which is made if there is none.
func (l *line) get(ctx context.Context) (*conn, error) {
	for {
		l.mu.Lock()
		c, d := l.conn, l.dialing
		if c == nil && d == nil {
			d = &dialing{done: make(chan struct{})}
			l.dialing = d
			go l.connect(d)
		}
		l.mu.Unlock()
		if c != nil {
			return c, nil
		}
		select {
		case <-d.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if d.err != nil {
			return nil, fmt.Errorf("%w: %w", outbound.ErrConnect, d.err)
		}
	}
}

func (l *line) connect(d *dialing) {
	made, err := l.dial()
	l.mu.Lock()
	if err == nil {
		l.conn = &conn{ClientConn: made}
	}
	d.err = err
	l.dialing = nil
	l.mu.Unlock()
	if err == nil {
		made.SetStateHook(l.changed)
	}
	close(d.done)
}

// changed is called when a connection may have more room than before, or none
// any more.
func (l *line) changed(c *http.ClientConn) {
	if c.Err() != nil || c.InFlight() == 0 {
		l.wake(all)
		return
	}
	l.wake(c.Available())
}

// wake has at most n waiting requests look again.
func (l *line) wake(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.waiting))
	for _, w := range l.waiting[:n] {
		close(w)
	}
	l.waiting = slices.Delete(l.waiting, 0, n)
}

func (l *line) queue() chan struct{} {
	w := make(chan struct{})
	l.mu.Lock()
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	return w
}

// leave takes a request out of the queue. If it has been woken, another one is
// in its place.
func (l *line) leave(w chan struct{}) {
	l.mu.Lock()
	i := slices.Index(l.waiting, w)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	l.mu.Unlock()
	if i < 0 {
		l.wake(1)
	}
}

// drop forgets a connection that is of no more use.
func (l *line) drop(c *conn) {
	l.mu.Lock()
	if l.conn == c {
		l.conn = nil
	}
	l.mu.Unlock()
	c.Close() //nolint:errcheck // nothing is under way on it
	l.wake(all)
}

// close ends the connection. Nobody makes requests by then.
func (l *line) close() error {
	l.mu.Lock()
	c, d := l.conn, l.dialing
	l.mu.Unlock()
	if d != nil {
		<-d.done
		l.mu.Lock()
		c = l.conn
		l.mu.Unlock()
	}
	if c == nil || c.Err() != nil {
		return nil
	}
	return c.Close()
}
