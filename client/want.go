package client

import (
	"errors"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// want is what a device asks for.
type want struct {
	bodies  bool
	urgency edition.Urgency
}

// word is the urgency as a hello says it: nothing where everything is wanted.
func (w want) word() string {
	if w.urgency == edition.UrgencyVeryLow {
		return ""
	}
	return w.urgency.String()
}

// Want says what a device asks for from now on, on this connection and later
// ones. With bodies it is told what events carry, by their slots; without, of
// messages as versions of their apps. Messages of less than the urgency wait
// upstream until it asks for less (RFC 8030 §5.3); versions do not wait.
func (c *Client) Want(bodies bool, urgency edition.Urgency) {
	c.mu.Lock()
	w := want{bodies, urgency}
	l, same := c.link, w == c.want
	c.want = w
	c.mu.Unlock()
	if same || l == nil || c.cfg.Relay != "" {
		return
	}
	if err := l.ask(w); err != nil {
		c.cfg.Log.Debug("upstream is told with the next hello what is wanted", "err", err)
	}
}

func (c *Client) wanted() want {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want
}

// ask tells upstream; nobody waits for the answer. An explicit urgency takes
// back one that was said before.
func (s *socket) ask(w want) error {
	return s.send(&wire.Message{Type: wire.TypeHello, Bodies: w.bodies, Urgency: w.urgency.String()})
}

// ask does nothing: each poll says what is wanted.
func (p *poll) ask(want) error { return nil }

var errNoMessage = fault(ReasonProtocol, "upstream sent the slot of a message without the message, or one that is malformed")

// update hands an UPDATE over. What no store would take is kept back: a relay
// refuses it, so that upstream does not send it again and again; a device does
// not acknowledge it.
func (c *Client) update(l link, u edition.Update, carried []wire.Carried, done func()) {
	c.cfg.Metrics.update(len(u))
	good, bodies, bad := wire.Bodies(u, carried)
	if len(bad) > 0 {
		c.cfg.Metrics.fault(errNoMessage)
		c.cfg.Log.Warn("upstream sent malformed messages", "host", c.base.Host, "events", len(bad))
		if c.cfg.Relay != "" {
			if err := l.ack(ackRefuse, bad); err != nil && !errors.Is(err, errEnded) {
				c.cfg.Log.Debug("malformed messages were not refused", "err", err)
			}
		}
	}
	if len(good) == 0 {
		done()
		return
	}
	c.cfg.Update(good, bodies, done)
}
