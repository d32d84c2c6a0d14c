package session

import (
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// stir notes traffic that keeps a connection from being closed as idle: all but
// pings.
func (c *conn) stir() { c.stirred.Store(c.s.now.Load()) }

// restless reports whether it is time to see if a device may sleep.
func (c *conn) restless(now time.Duration) bool {
	limit := c.s.limits.IdleClose
	return limit > 0 && c.badge == nil && now-time.Duration(c.stirred.Load()) >= limit
}

// lull closes a connection that has been idle, when nothing is in flight and
// all its devices can be woken. If not, it is looked at again after as long.
// What comes while it closes makes a kick due: the hub sees to that when the
// connection lets go.
func (c *conn) lull() {
	defer func() {
		if fault := recover(); fault != nil {
			c.s.panicked(fault, "session.conn.lull")
			c.end(websocket.CloseInternalServerErr, "a fault of the server", reasonPanic)
		}
	}()
	since := c.stirred.Load()
	for _, uaid := range c.idle() {
		routes, err := c.s.store.Routes(edition.Holder{UAID: uaid})
		if err != nil || !routes.Usable() || c.s.wakeable == nil || !c.s.wakeable(routes) {
			c.stir()
			return
		}
	}
	if c.stirred.Load() != since || !c.decideIdle() {
		return
	}
	c.finish(wire.CloseIdle, "server will wake you")
}

// idle returns the devices of a connection that has nothing in flight.
func (c *conn) idle() []edition.UAID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.board.all()
}

// decideIdle is decide for a connection that is still idle.
func (c *conn) decideIdle() bool {
	c.mu.Lock()
	busy := c.flushing || c.board.count() == 0 || len(c.board.flights) > 0 || c.board.ready(c.window())
	c.mu.Unlock()
	return !busy && c.decide(reasonIdle)
}
