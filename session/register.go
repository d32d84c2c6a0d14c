package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// onRegistration takes the messages register, unregister and kick.
func (c *conn) onRegistration(m *wire.Message, size int) {
	kind := m.Type
	q := wire.RegisterRequest{
		UAID: m.UAID, Secret: m.Secret, Proof: m.Proof, AppID: m.AppID,
		Upstream: m.Upstream, Kick: m.Kick, Relay: m.Relay,
	}
	c.work(func(ctx context.Context) {
		answer, err := c.register(ctx, kind, &q, size)
		if err != nil {
			c.refuseTo(err, kind, q.UAID, q.AppID)
			return
		}
		paused := c.pause()
		defer c.resume(paused)
		if kind == wire.TypeRegister {
			c.take(*q.UAID)
		}
		c.reply(answer)
	})
}

func (c *conn) register(ctx context.Context, kind string, q *wire.RegisterRequest, size int) (*wire.Message, error) {
	by := c.caller()
	if by.relay() && by.owner == edition.Direct {
		return nil, errNoName
	}
	if q.UAID == nil && by.relay() && kind == wire.TypeKick {
		return &wire.Message{Type: kind, Status: 200}, c.s.relayKick(ctx, by, q.Kick, size)
	}
	proven := q.UAID != nil && c.holds(*q.UAID)
	answer := &wire.Message{Type: kind, Status: 200, UAID: q.UAID, AppID: q.AppID}
	switch kind {
	case wire.TypeUnregister:
		return answer, c.s.unregister(ctx, by, q, proven)
	case wire.TypeKick:
		return answer, c.s.setKick(ctx, by, q, proven, size)
	}
	if !proven && !by.relay() {
		held, _ := c.tally(nil)
		if err := c.s.room(held + 1); err != nil {
			return nil, err
		}
	}
	var err error
	if answer.Endpoint, err = c.s.register(ctx, by, q, proven, size); err != nil {
		return nil, err
	}
	answer.Status = 201
	return answer, nil
}

// take has the updates of a device that was registered come here from now on.
func (c *conn) take(uaid edition.UAID) {
	c.greet()
	switch {
	case c.peer != nil:
		c.ringAll([]edition.UAID{uaid}) // what was pending has moved here
	case !c.holds(uaid):
		c.hold([]edition.UAID{uaid})
	}
}

// register makes or renews a registration, and returns the endpoint when that
// is durable.
func (s *Server) register(ctx context.Context, by caller, q *wire.RegisterRequest, proven bool, size int) (endpoint string, err error) {
	defer func() {
		status := 201
		if err != nil {
			status = wire.Status(err)
		}
		s.m.registrations.WithLabelValues(strconv.Itoa(status)).Inc()
	}()
	if q.UAID == nil || q.AppID == nil {
		return "", fmt.Errorf("%w: a registration names a uaid and an appid", edition.ErrMalformed)
	}
	shown, err := by.shown(q.Secret, q.Proof)
	if err != nil {
		return "", err
	}
	if !by.relay() {
		if err := s.rates.take(s.clock(), by.from); err != nil {
			s.m.refuse(reasonRate)
			return "", err
		}
	}
	agent, err := s.prove(by, *q.UAID, shown, proven)
	if err != nil && !errors.Is(err, edition.ErrNotFound) {
		return "", s.unproven(err)
	}
	r := edition.Registration{
		Key:   edition.Key{UAID: *q.UAID, AppID: *q.AppID},
		Proof: agent.Proof, Owner: by.owner, Upstream: q.Upstream,
	}
	if len(q.Kick) > 0 {
		if r.Routes, err = s.routes(by, q.Kick, size); err != nil {
			return "", err
		}
	}
	if endpoint, err = s.registrar.Register(ctx, r); err != nil {
		return "", err
	}
	if by.relay() {
		s.evict(*q.UAID)
	}
	return endpoint, nil
}

// unregister withdraws an endpoint.
func (s *Server) unregister(ctx context.Context, by caller, q *wire.RegisterRequest, proven bool) error {
	if q.UAID == nil || q.AppID == nil {
		return fmt.Errorf("%w: unregister names a uaid and an appid", edition.ErrMalformed)
	}
	if err := s.known(by, q, proven); err != nil {
		return err
	}
	return s.registrar.Unregister(ctx, edition.Key{UAID: *q.UAID, AppID: *q.AppID})
}

// setKick changes how a device is woken; null forgets it.
func (s *Server) setKick(ctx context.Context, by caller, q *wire.RegisterRequest, proven bool, size int) error {
	if q.UAID == nil || len(q.Kick) == 0 {
		return fmt.Errorf("%w: kick names a uaid and a kick", edition.ErrMalformed)
	}
	if err := s.known(by, q, proven); err != nil {
		return err
	}
	routes, err := s.routes(by, q.Kick, size)
	if err != nil {
		return err
	}
	return s.store.ChangeRoutes(ctx, edition.Holder{UAID: *q.UAID}, routes.Over)
}

// relayKick changes how a relay itself is woken; null forgets it.
func (s *Server) relayKick(ctx context.Context, by caller, kick json.RawMessage, size int) error {
	if len(kick) == 0 {
		return fmt.Errorf("%w: kick names a kick", edition.ErrMalformed)
	}
	routes, err := s.check(by, kick, size)
	if err != nil {
		return err
	}
	return s.store.ChangeRoutes(ctx, edition.Holder{Owner: by.owner}, routes.Over)
}

// known is prove for a device that must be registered. Who is not is told the
// same as who has a wrong secret.
func (s *Server) known(by caller, q *wire.RegisterRequest, proven bool) error {
	shown, err := by.shown(q.Secret, q.Proof)
	if err != nil {
		return err
	}
	_, err = s.prove(by, *q.UAID, shown, proven)
	return s.unproven(err)
}

func (s *Server) unproven(err error) error {
	if errors.Is(err, edition.ErrNotFound) {
		err = errProof
	}
	if errors.Is(err, edition.ErrUnauthorized) {
		s.m.refuse(reasonSecret)
	}
	return err
}

// routes is check for a device's kick.
func (s *Server) routes(by caller, kick json.RawMessage, size int) (edition.Routes, error) {
	if by.relay() {
		s.m.refuse(reasonKick)
		return nil, fmt.Errorf("%w: how its devices are woken stays with a relay", edition.ErrForbidden)
	}
	return s.check(by, kick, size)
}

// check turns a kick into routes, as far as the operator allows them; null is
// none, which takes the place of those there were.
func (s *Server) check(by caller, kick json.RawMessage, size int) (edition.Routes, error) {
	if bytes.Equal(kick, []byte("null")) {
		return edition.Routes{}, nil
	}
	if s.checkKick == nil {
		s.m.refuse(reasonKick)
		return nil, fmt.Errorf("%w: no kicks are sent from here", edition.ErrForbidden)
	}
	routes, err := s.checkKick(kick, by.from, size)
	if err != nil {
		s.m.refuse(reasonKick)
	}
	return routes, err
}
