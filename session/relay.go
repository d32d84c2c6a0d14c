package session

import (
	"context"
	"fmt"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// onRelayHello takes a relay's name, at first, and who has shown up behind it,
// then or later. What it costs does not depend on how many devices the relay
// has.
func (c *conn) onRelayHello(m *wire.Message) {
	answer := &wire.Message{Type: wire.TypeHello, Status: 200, UAIDs: []edition.UAID{}, Refused: []edition.UAID{}}
	paused := c.pause()
	if m.Relay != "" {
		custody, err := c.enter(m)
		if err != nil {
			c.refuse(err, wire.TypeHello)
			c.resume(paused)
			return
		}
		answer.Custody, answer.Gone, answer.Way = custody, c.s.relayGone(c.caller().owner), c.s.way()
	}
	by := c.caller()
	switch {
	case by.owner == edition.Direct:
		c.refuse(errNoName, wire.TypeHello)
	case len(m.Agents) == 0:
		c.reply(answer)
	default:
		claims := m.Agents
		c.work(func(ctx context.Context) {
			a, err := c.s.admit(ctx, by, claims, func(edition.UAID) bool { return false })
			if err != nil {
				c.refuse(err, wire.TypeHello)
				return
			}
			answer.UAIDs, answer.Refused = a.uaids, a.refused
			c.reply(answer)
			c.ringAll(a.uaids)
			c.resume(false)
		})
	}
	c.resume(paused)
}

var errNoName = fmt.Errorf("%w: a relay first says its name", edition.ErrConflict)

// enter makes this connection the relay's, and starts the walk over what waits
// for it: attach first, then look.
func (c *conn) enter(m *wire.Message) (custody string, err error) {
	ctx := c.s.patience.From(time.Now())
	self := c.s.roster.Load().who(c.badge, m.Relay)
	if self != nil && self != c.self && c.caller().owner != edition.Direct {
		return "", fmt.Errorf("%w: this connection is that of relay %.64q", edition.ErrConflict, c.self.name)
	}
	owner, err := c.s.name(ctx, self, m.Relay, m.Store)
	if err != nil {
		return "", err
	}
	c.self, c.store = self, m.Store
	if custody, err = self.grant(m.Custody); err != nil {
		return "", err
	}
	if !c.own(owner, self) {
		return custody, nil
	}
	c.recheck()
	self.calls.attach(c)
	party := edition.Holder{Owner: owner}
	c.s.hub.Attach(party, c)
	if c.isClosing() {
		self.calls.detach(c)
		c.s.hub.Detach(party, c)
	}
	return custody, nil
}

// own notes the relay's number. It is false when the connection is ending.
func (c *conn) own(owner edition.Owner, self *peer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.owner, c.linked = owner, self
	c.board.rescan()
	return true
}
