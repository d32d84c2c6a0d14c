package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// admitted is what a list of claims came to.
type admitted struct {
	uaids   []edition.UAID // proven, and bound to the caller
	refused []edition.UAID
	gone    []wire.Gone // of devices, which are told
}

// admit proves the claims of a hello or a poll, and binds the devices to the
// caller. Devices that are unknown here are claimed from who is above. proven
// says whose proof was shown before. A claim that fails is refused; an error
// means that nothing can be said.
func (s *Server) admit(ctx context.Context, by caller, claims []wire.Agent, proven func(edition.UAID) bool) (admitted, error) {
	var (
		a       = admitted{uaids: make([]edition.UAID, 0, len(claims)), refused: []edition.UAID{}}
		now     = time.Now()
		known   []edition.Agent
		shownAt []time.Time // of known: when they showed up
		unknown []edition.Credential
		seen    map[edition.UAID]bool
	)
	if len(claims) > 1 {
		seen = make(map[edition.UAID]bool, len(claims))
	}
	for i := range claims {
		uaid := claims[i].UAID
		shown, err := by.shown(claims[i].Secret, claims[i].Proof)
		if err != nil {
			return a, err
		}
		if seen[uaid] {
			continue
		}
		if seen != nil {
			seen[uaid] = true
		}
		agent, err := s.prove(by, uaid, shown, proven(uaid))
		switch {
		case err == nil:
			at := now.Add(-by.age(&claims[i]))
			if by.overtaken(&agent, at) {
				a.uaids = append(a.uaids, uaid)
				continue
			}
			known, shownAt = append(known, agent), append(shownAt, at)
		case errors.Is(err, edition.ErrNotFound):
			unknown = append(unknown, edition.Credential{UAID: uaid, Proof: *shown})
		case errors.Is(err, edition.ErrUnauthorized):
			s.m.refuse(reasonSecret)
			a.refused = append(a.refused, uaid)
		default:
			return a, err
		}
	}
	if err := s.bind(ctx, by, known, shownAt, &a); err != nil {
		return a, err
	}
	return a, s.claim(ctx, by, unknown, &a)
}

func (a *admitted) tellGone(uaid edition.UAID, routes edition.Routes) {
	if slices.ContainsFunc(routes, isGone) {
		a.gone = append(a.gone, gone(&uaid, routes)...)
	}
}

// seenEvery is how often it is noted that a device lives, which keeps its
// registrations from expiring.
const seenEvery = 24 * time.Hour

// age is how long ago a device showed up, as a relay says that tells late.
func (by caller) age(claim *wire.Agent) time.Duration {
	if !by.relay() || claim.Age <= 0 {
		return 0
	}
	return time.Duration(min(claim.Age, maxAge)) * time.Millisecond
}

// maxAge bounds an age, in milliseconds.
const maxAge = 365 * 24 * 3600 * 1000

// overtaken reports whether a device that showed up behind the caller has shown
// up elsewhere since: the caller could not say so in time.
func (by caller) overtaken(agent *edition.Agent, at time.Time) bool {
	return by.relay() && agent.Owner != by.owner && agent.Seen.After(at)
}

// bind moves known devices to the caller, where they are not there yet. A relay
// says who has shown up behind it, and then everything is to be sent again.
func (s *Server) bind(ctx context.Context, by caller, known []edition.Agent, shownAt []time.Time, a *admitted) error {
	if len(known) == 0 {
		return nil
	}
	lost, err := s.move(ctx, by, known)
	if err != nil {
		return err
	}
	present := known[:0]
	for i, agent := range known {
		if lost != nil && lost[i] {
			a.refused = append(a.refused, agent.UAID)
			continue
		}
		agent.Seen = shownAt[i]
		present = append(present, agent)
		a.uaids = append(a.uaids, agent.UAID)
		if by.relay() {
			s.evict(agent.UAID)
		} else {
			a.tellGone(agent.UAID, agent.Routes)
		}
	}
	if len(present) > 0 {
		s.registrar.Present(present)
	}
	return nil
}

// move is the part of bind that the store does, several at once so that they
// share a commit. lost, if not nil, says who has changed since it was looked up.
func (s *Server) move(ctx context.Context, by caller, known []edition.Agent) (lost []bool, err error) {
	var g *errgroup.Group
	for i := range known {
		here := known[i].Owner == by.owner && !by.relay()
		if here && time.Since(known[i].Seen) < seenEvery {
			continue
		}
		if g == nil {
			lost = make([]bool, len(known))
			g, ctx = errgroup.WithContext(ctx)
			g.SetLimit(relayWorkers)
		}
		known[i].Owner = by.owner
		g.Go(func() error {
			err := s.store.Bind(ctx, known[i])
			if here && err != nil {
				s.log.Debug("cannot note that a device was seen", "uaid", known[i].UAID, "err", err)
				return nil // it is served all the same
			}
			if errors.Is(err, edition.ErrNotFound) || errors.Is(err, edition.ErrUnauthorized) {
				lost[i] = true
				return nil
			}
			return err
		})
	}
	if g == nil {
		return nil, nil
	}
	return lost, g.Wait()
}

// claim asks who is above for devices that are unknown here. When it cannot be
// asked, who is known is served nevertheless.
func (s *Server) claim(ctx context.Context, by caller, unknown []edition.Credential, a *admitted) error {
	if len(unknown) == 0 {
		return nil
	}
	proven, err := s.registrar.Claim(ctx, unknown, by.owner)
	if err != nil {
		if len(a.uaids) == 0 {
			return err
		}
		s.log.Debug("cannot claim devices", "err", err)
	}
	ours := make(map[edition.UAID]bool, len(proven))
	for _, uaid := range proven {
		ours[uaid] = true
	}
	for _, who := range unknown {
		if ours[who.UAID] {
			a.uaids = append(a.uaids, who.UAID)
		} else {
			s.m.refuse(reasonUnknown)
			a.refused = append(a.refused, who.UAID)
		}
	}
	return nil
}

// room is ErrTooLarge when a device asks for more UAIDs than one may hold.
func (s *Server) room(n int) error {
	if n <= s.limits.Agents {
		return nil
	}
	s.m.refuse(reasonAgents)
	return fmt.Errorf("%w: more than %d UAIDs on one connection", edition.ErrTooLarge, s.limits.Agents)
}

// nobody takes a device over from the connection it has here, when it has
// shown up behind a relay.
type nobody struct{ _ byte } // has a size, so that its address is its own

func (*nobody) Ring(edition.UAID)   {}
func (*nobody) Lost(edition.Holder) {}

func (s *Server) evict(uaid edition.UAID) {
	party := edition.Holder{UAID: uaid}
	if s.hub.Connected(party) {
		b := new(nobody)
		s.hub.Attach(party, b)
		s.hub.Detach(party, b)
	}
}

// onHello takes a device's claims, or a relay's name and who has shown up
// behind it.
func (c *conn) onHello(m *wire.Message) {
	c.greet()
	switch {
	case c.badge != nil || m.Relay != "":
		c.onRelayHello(m)
	default:
		if err := c.ask(m); err != nil {
			c.refuse(err, wire.TypeHello)
			return
		}
		c.onAgents(m.Agents)
	}
}

// ask notes what a device asks to be told. What was held back, and is not any
// more, is looked at.
func (c *conn) ask(m *wire.Message) error {
	least, err := leastUrgency(m.Urgency)
	if err != nil {
		return err
	}
	for _, uaid := range c.asked(m, least) {
		c.s.hub.Urgency(uaid, least)
		c.ringAll([]edition.UAID{uaid})
	}
	return nil
}

// asked returns the devices that are held and have another urgency now.
func (c *conn) asked(m *wire.Message, least edition.Urgency) []edition.UAID {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies = c.bodies || m.Bodies
	if m.Urgency == "" || least == c.urgency {
		return nil
	}
	c.urgency = least
	return c.board.all()
}

func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeted = true
}

func (c *conn) onAgents(claims []wire.Agent) {
	held, fresh := c.tally(claims)
	if err := c.s.room(held + fresh); err != nil {
		c.refuse(err, wire.TypeHello)
		return
	}
	c.work(func(ctx context.Context) {
		a, err := c.s.admit(ctx, c.caller(), claims, c.holds)
		if err != nil {
			c.refuse(err, wire.TypeHello)
			return
		}
		paused := c.pause()
		defer c.resume(paused)
		c.hold(a.uaids)
		c.greeting(a)
	})
}

// greeting answers a device's hello.
func (c *conn) greeting(a admitted) {
	f := newFrame()
	defer f.free()
	f.b = a.appendHello(f.b)
	if err := c.send(websocket.TextMessage, f); err != nil {
		c.end(0, "", reasonWrite)
	}
}

func (a *admitted) appendHello(b []byte) []byte {
	b = appendUAIDs(append(b, `{"type":"hello","status":200,"uaids":[`...), a.uaids)
	b = append(appendUAIDs(append(b, `],"refused":[`...), a.refused), ']')
	if len(a.gone) > 0 {
		gone, _ := json.Marshal(a.gone) // of strings
		b = append(append(b, `,"gone":`...), gone...)
	}
	return append(b, '}')
}

func appendUAIDs(b []byte, uaids []edition.UAID) []byte {
	for i, uaid := range uaids {
		if i > 0 {
			b = append(b, ',')
		}
		b, _ = uaid.AppendText(append(b, '"'))
		b = append(b, '"')
	}
	return b
}

// tally counts the UAIDs held, and those that claims would add.
func (c *conn) tally(claims []wire.Agent) (held, fresh int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range claims {
		if !c.board.holds(claims[i].UAID) {
			fresh++
		}
	}
	return c.board.count(), fresh
}

// holds reports whether this device connection holds uaid, whose proof was
// shown then.
func (c *conn) holds(uaid edition.UAID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.board.holds(uaid)
}
