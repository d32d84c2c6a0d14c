package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// onRegistration takes the messages register, unregister and kick.
func (c *conn) onRegistration(m *wire.Message, size int) {
	kind := m.Type
	q := wire.RegisterRequest{
		UAID: m.UAID, Secret: m.Secret, Proof: m.Proof, AppID: m.AppID,
		Upstream: m.Upstream, Kick: m.Kick, Key: m.Key, Last: m.Last, Confirm: m.Confirm, Relay: m.Relay,
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

func (c *conn) register(ctx context.Context, kind string, q *wire.RegisterRequest, size int) (answer *wire.Message, err error) {
	by := c.caller()
	if by.relay() && by.owner == edition.Direct {
		return nil, errNoName
	}
	answer = &wire.Message{Type: kind, Status: 200, UAID: q.UAID, AppID: q.AppID}
	if q.UAID == nil && by.relay() && kind == wire.TypeKick {
		answer.Confirming, err = c.s.relayKick(ctx, by, q, size)
		return answer, err
	}
	proven := q.UAID != nil && c.holds(*q.UAID)
	switch kind {
	case wire.TypeUnregister:
		return answer, c.s.unregister(ctx, by, q, proven)
	case wire.TypeKick:
		answer.Confirming, err = c.s.setKick(ctx, by, q, proven, size)
		return answer, err
	}
	if !proven && !by.relay() {
		held, _ := c.tally(nil)
		if err := c.s.room(held + 1); err != nil {
			return nil, err
		}
	}
	answer.Status = 201
	answer.Endpoint, answer.Confirming, err = c.s.register(ctx, by, q, proven, size)
	return answer, err
}

// take has the updates of a device that was registered come here from now on.
func (c *conn) take(uaid edition.UAID) {
	c.greet()
	switch {
	case c.badge != nil:
		c.ringAll([]edition.UAID{uaid}) // what was pending has moved here
	case !c.holds(uaid):
		c.hold([]edition.UAID{uaid})
	}
}

// appKeySize is that of an uncompressed point on P-256 (RFC 8292 §3.2); who
// makes endpoints checks the point.
const appKeySize = 65

// register makes or renews a registration, and returns the endpoint when that
// is durable, and the drivers whose routes wait for a code.
func (s *Server) register(ctx context.Context, by caller, q *wire.RegisterRequest, proven bool, size int) (endpoint string, confirming []string, err error) {
	defer func() { s.m.registered(err) }()
	if q.UAID == nil || q.AppID == nil {
		return "", nil, fmt.Errorf("%w: a registration names a uaid and an appid", edition.ErrMalformed)
	}
	if q.Key != nil && len(q.Key) != appKeySize {
		return "", nil, fmt.Errorf("%w: a key is an uncompressed point on P-256, %d bytes in base64url", edition.ErrMalformed, appKeySize)
	}
	shown, err := by.shown(q.Secret, q.Proof)
	if err != nil {
		return "", nil, err
	}
	if !by.relay() {
		if err := s.rates.take(s.clock(), by.from); err != nil {
			s.m.refuse(reasonRate)
			return "", nil, err
		}
	}
	agent, err := s.prove(by, *q.UAID, shown, proven)
	if err != nil && !errors.Is(err, edition.ErrNotFound) {
		return "", nil, s.unproven(err)
	}
	r := edition.Registration{
		Key:   edition.Key{UAID: *q.UAID, AppID: *q.AppID},
		Proof: agent.Proof, Owner: by.owner, Upstream: q.Upstream, AppKey: q.Key,
		Last: q.Last && by.relay(), // of a device it is its dialect that says so
	}
	if len(q.Kick) > 0 {
		if r.Routes, err = s.routes(by, q.Kick, size); err != nil {
			return "", nil, err
		}
	}
	if endpoint, err = s.registrar.Register(ctx, r); err != nil {
		return "", nil, err
	}
	if by.relay() {
		s.evict(*q.UAID)
	}
	return endpoint, s.challenge(edition.Holder{UAID: *q.UAID}, r.Routes), nil
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
