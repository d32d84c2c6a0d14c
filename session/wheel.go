package session

import (
	"context"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// wheel is the one timer of all connections. Each sits in a slot; a tick
// visits one slot, so that every connection is visited once a turn and no
// connection has a timer or a read deadline of its own. Times are coarse
// accordingly: something happens up to a turn late.
type wheel struct {
	slots [wheelSlots]slot

	mu     sync.Mutex
	next   int32         // Guarded by mu. Where the next connection goes.
	count  int           // Guarded by mu.
	closed bool          // Guarded by mu. Nothing is added any more.
	empty  chan struct{} // Guarded by mu. Closed when count falls to 0, if somebody waits.
}

const wheelSlots = 32

type slot struct {
	mu    sync.Mutex
	conns []*conn // Guarded by mu.
}

// add takes a connection in. It is false after close.
func (w *wheel) add(c *conn) bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.count++
	w.next = (w.next + 1) % wheelSlots
	c.slot = w.next
	w.mu.Unlock()
	s := &w.slots[c.slot]
	s.mu.Lock()
	c.at = int32(len(s.conns))
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	return true
}

func (w *wheel) remove(c *conn) {
	s := &w.slots[c.slot]
	s.mu.Lock()
	last := len(s.conns) - 1
	s.conns[c.at] = s.conns[last]
	s.conns[c.at].at = c.at
	s.conns[last] = nil
	s.conns = s.conns[:last]
	s.mu.Unlock()
	w.mu.Lock()
	w.count--
	if w.count == 0 && w.empty != nil {
		close(w.empty)
		w.empty = nil
	}
	w.mu.Unlock()
}

// none returns a channel that is closed when no connection is left.
func (w *wheel) none() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.empty == nil {
		w.empty = make(chan struct{})
	}
	ch := w.empty
	if w.count == 0 {
		close(w.empty)
		w.empty = nil
	}
	return ch
}

func (w *wheel) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}

// in appends the connections of one slot to dst.
func (w *wheel) in(dst []*conn, i int) []*conn {
	s := &w.slots[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(dst, s.conns...)
}

// Run does the timed work until ctx ends: pings, silent peers, hellos that do
// not come, UPDATEs that are not acknowledged. Then it closes whatever
// connections are left, and returns nil when all their goroutines have ended.
// Call Drain before, to end them gently.
func (s *Server) Run(ctx context.Context) error {
	turn := min(s.limits.Hello, s.limits.Ping/2, s.limits.AckTimeout) / 3
	if s.limits.IdleClose > 0 {
		turn = min(turn, s.limits.IdleClose/3)
	}
	turn = min(max(turn, wheelSlots*2*time.Millisecond), 5*time.Second)
	tick := time.NewTicker(turn / wheelSlots)
	defer tick.Stop()
	var buf []*conn
	for i := 0; ; i = (i + 1) % wheelSlots {
		select {
		case <-ctx.Done():
			s.cut()
			return nil
		case <-tick.C:
		}
		s.now.Store(int64(time.Since(s.started)))
		buf = s.wheel.in(buf[:0], i)
		for _, c := range buf {
			c.visit(s.clock())
		}
		clear(buf)
	}
}

// cut ends everything at once.
func (s *Server) cut() {
	s.stopTaking()
	s.wheel.close()
	s.stop()
	for i := range wheelSlots {
		for _, c := range s.wheel.in(nil, i) {
			c.end(0, "", reasonDrain)
			c.net.Close() // also of one that has not answered its close frame: nobody visits it any more
		}
	}
	<-s.wheel.none()
	s.conns.Wait()
}

// visit does what is due for one connection. It does not block.
func (c *conn) visit(now time.Duration) {
	idle := now - time.Duration(c.read.Load())
	greeted, closing, deadline := c.due(now)
	if closing {
		if now >= deadline {
			c.net.Close()
		}
		return
	}
	l := &c.s.limits
	switch {
	case !greeted && now >= deadline:
		c.end(websocket.ClosePolicyViolation, "no hello within "+l.Hello.String(), reasonHello)
	case idle >= l.dead():
		c.end(0, "", reasonSilent)
	case idle >= l.Ping && now-time.Duration(c.pinged.Load()) >= l.Ping:
		c.pinged.Store(int64(now))
		c.post(websocket.PingMessage, newFrame())
	}
	if greeted && c.restless(now) {
		c.stir() // so that it is looked at once
		c.s.conns.Go(c.lull)
	}
}

// due has sent again what was not acknowledged, or could not be read, and
// returns what visit needs to know.
func (c *conn) due(now time.Duration) (greeted, closing bool, deadline time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.board.expire(now); n > 0 {
		c.s.m.resends.Add(float64(n))
		c.wake()
	}
	if c.stalled {
		c.stalled = false
		c.wake()
	}
	return c.greeted, c.closing, c.deadline
}
