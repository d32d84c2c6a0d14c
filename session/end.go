package session

import (
	"time"

	"github.com/edition-push/edition"
)

// linger is how long a peer may take to answer a close frame.
const linger = 3 * time.Second

// end closes the connection in the background, see finish. Only the first end
// counts. It does not block, and does not call the hub.
func (c *conn) end(code int, text string, why reason) {
	if c.decide(why) {
		go c.finish(code, text)
	}
}

// endNow is end in the foreground, for the goroutine that reads.
func (c *conn) endNow(code int, text string, why reason) {
	if c.decide(why) {
		c.finish(code, text)
	}
}

// decide is true for the one call that decides how the connection ends, which
// then calls finish.
func (c *conn) decide(why reason) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.closing = true
	c.deadline = c.s.clock() + linger
	c.s.conns.Add(1)
	c.s.m.close(why)
	c.s.log.Debug("connection ends", "reason", string(why), "remote", c.net.RemoteAddr())
	return true
}

// finish gives up what the connection holds and tells the peer why, unless the
// code is 0. The peer then has until the deadline to read that and to close:
// closing the socket at once would throw away what it has not read.
func (c *conn) finish(code int, text string) {
	defer c.s.conns.Done()
	c.leave()
	if code == 0 || c.sendClose(code, text) != nil {
		c.net.Close()
	}
}

// leave detaches from the hub. A closing connection takes nothing new, so this
// is final.
func (c *conn) leave() {
	owner, linked, uaids := c.clear()
	if linked != nil {
		linked.calls.detach(c)
	}
	if owner != edition.Direct {
		c.s.hub.Detach(edition.Holder{Owner: owner}, c)
	}
	c.detach(uaids)
}

func (c *conn) clear() (owner edition.Owner, linked *peer, uaids []edition.UAID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.badge == nil {
		uaids = c.board.all()
	}
	c.board = newBoard(c.badge != nil)
	return c.owner, c.linked, uaids
}
