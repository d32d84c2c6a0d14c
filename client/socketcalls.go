package client

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// call is a request that waits for its answer. The protocol has no request
// numbers: an answer names its type and, where there is one, the UAID and APPID.
type call struct {
	typ    string
	uaid   *edition.UAID
	app    *edition.AppID
	answer chan wire.Message // capacity 1
}

func (c *call) isFor(m *wire.Message) bool {
	return (m.UAID == nil || c.uaid != nil && *m.UAID == *c.uaid) &&
		(m.AppID == nil || c.app != nil && *m.AppID == *c.app)
}

var errEnded = fault(ReasonClosed, "the connection to upstream ended before the answer")

// call sends a request and waits for its answer.
func (s *socket) call(ctx context.Context, m *wire.Message) (*wire.Message, error) {
	c := &call{typ: m.Type, uaid: m.UAID, app: m.AppID, answer: make(chan wire.Message, 1)}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if err := s.begin(c, b); err != nil {
		return nil, err
	}
	select {
	case a := <-c.answer:
		if a.Type == wire.TypeError || a.Status >= 400 {
			return nil, &Error{Reason: ReasonRefused, Err: a.Err()}
		}
		return &a, nil
	case <-s.ended:
		return nil, errEnded
	case <-ctx.Done():
		if c.uaid != nil {
			s.forget(c)
		} // else it stays, so that its late answer is not taken for another's
		return nil, netFault(context.Cause(ctx), ReasonTimeout)
	}
}

// begin notes a call and writes its request, in one order for both.
func (s *socket) begin(c *call, b []byte) error {
	s.calling.Lock()
	defer s.calling.Unlock()
	s.mu.Lock()
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	if err := s.write(b); err != nil {
		s.forget(c)
		return err
	}
	return nil
}

func (s *socket) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.calls, c); i >= 0 {
		s.calls = slices.Delete(s.calls, i, i+1)
	}
}

// answer hands an answer, or an error, to the call it is for. An error that
// names no UAID goes to the oldest call of its type.
func (s *socket) answer(m *wire.Message) bool {
	typ := m.Type
	if typ == wire.TypeError {
		typ = m.Of
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.calls {
		if c.typ == typ && c.isFor(m) {
			s.calls = slices.Delete(s.calls, i, i+1)
			a := *m
			a.Updates = nil
			c.answer <- a
			return true
		}
	}
	return false
}

func (s *socket) hello(ctx context.Context, agents []wire.Agent) (accepted, refused []edition.UAID, err error) {
	a, err := s.call(ctx, &wire.Message{Type: wire.TypeHello, Agents: agents})
	if err != nil {
		return nil, nil, err
	}
	s.c.cfg.gone(a.Gone)
	return a.UAIDs, a.Refused, nil
}

func (s *socket) woken(a wire.Woken) error {
	return s.send(&wire.Message{Type: wire.TypeWoken, ID: a.ID, Woken: &a.Woken})
}

func (s *socket) ack(kind ackKind, u edition.Update) error {
	if kind == ackRefuse {
		return s.send(&wire.Message{Type: wire.TypeRefuse, Updates: wire.Updates(u)})
	}
	buf := messages.Get().(*[]byte)
	*buf = wire.AppendAck((*buf)[:0], kind == ackStored, u)
	err := s.write(*buf)
	messages.Put(buf)
	return err
}

// barrier waits for a pong: upstream handles messages in order.
func (s *socket) barrier(ctx context.Context) error {
	done := make(chan struct{})
	s.mu.Lock()
	s.pongs = append(s.pongs, done)
	s.mu.Unlock()
	if err := s.write([]byte(`{"type":"ping"}`)); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-s.ended:
		return errEnded
	case <-ctx.Done():
		return netFault(context.Cause(ctx), ReasonTimeout)
	}
}

func (s *socket) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pongs) > 0 {
		close(s.pongs[0])
		s.pongs = s.pongs[1:]
	}
}
