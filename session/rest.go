package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// request is a REST request whose body was read.
type request struct {
	ctx   context.Context
	by    caller
	badge *badge // what a relay has shown
	body  []byte
}

// decode reads the body into v.
func (q *request) decode(v any) error { return wire.DecodeJSON(bytes.NewReader(q.body), v) }

// bodyTime bounds how long a body may take to come.
const bodyTime = 30 * time.Second

// post checks what all REST requests have in common, and answers with what do
// returns: 204 for nil, else its JSON with the status.
func (s *Server) post(w http.ResponseWriter, r *http.Request, kind string, do func(*request) (int, any, error)) {
	s.m.message(kind)
	status, answer, err := s.try(w, r, kind, do)
	switch {
	case err != nil:
		if r.Context().Err() != nil && wire.Status(err) == 500 {
			return // the client has gone
		}
		if wire.Status(err) == 500 {
			s.log.Error("a request failed", "path", r.URL.Path, "err", err)
		}
		wire.WriteProblem(w, err)
	case answer == nil:
		w.WriteHeader(status)
	default:
		b, err := json.Marshal(answer)
		if err != nil {
			s.log.Error("cannot encode an answer", "path", r.URL.Path, "err", err)
			wire.WriteProblem(w, err)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		w.Write(append(b, '\n')) //nolint:errcheck // the client may have gone
	}
}

func (s *Server) try(w http.ResponseWriter, r *http.Request, kind string, do func(*request) (int, any, error)) (int, any, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return 0, nil, fmt.Errorf("%w: use POST", edition.ErrMethod)
	}
	b, p, err := s.authenticate(r)
	if err != nil {
		return 0, nil, err
	}
	if s.isDraining() && kind != wire.TypeAck { // what a device has seen is taken to the end
		s.m.refuse(reasonStopping)
		return 0, nil, errDraining
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return 0, nil, fmt.Errorf("%w: use application/json", edition.ErrMediaType)
	}
	limit := s.limits.Message
	if b != nil {
		limit = s.limits.RelayMessage
	}
	body, err := readBody(w, r, limit)
	if err != nil {
		if errors.Is(err, edition.ErrTooLarge) {
			s.m.refuse(reasonTooLarge)
		}
		return 0, nil, err
	}
	return do(&request{ctx: r.Context(), by: caller{peer: p, from: remoteText(r.RemoteAddr)}, badge: b, body: body})
}

func readBody(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTime)) //nolint:errcheck // not every server can
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	control.SetReadDeadline(time.Time{}) //nolint:errcheck // not every server can
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, errSize(limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the body ended early", edition.ErrMalformed)
	}
	return body, nil
}

// named resolves the number of the relay that calls, if it is one.
func (s *Server) named(q *request, name, id string) (err error) {
	if !q.by.relay() && name == "" {
		return nil
	}
	if name == "" {
		name = q.by.peer.name
	}
	p := s.roster.Load().who(q.badge, name)
	if q.by.owner, err = s.name(q.ctx, p, name, id); err == nil {
		q.by.peer = p
	}
	return err
}

func (s *Server) restRegister(q *request) (int, any, error) {
	var m wire.RegisterRequest
	if err := q.decode(&m); err != nil {
		return 0, nil, err
	}
	if err := s.named(q, m.Relay, ""); err != nil {
		return 0, nil, err
	}
	endpoint, confirming, err := s.register(q.ctx, q.by, &m, false, len(q.body))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, wire.RegisterResponse{
		UAID: *m.UAID, AppID: *m.AppID, Endpoint: endpoint, Confirming: confirming,
	}, nil
}

func (s *Server) restUnregister(q *request) (int, any, error) {
	var m wire.RegisterRequest
	if err := q.decode(&m); err != nil {
		return 0, nil, err
	}
	if err := s.named(q, m.Relay, ""); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.unregister(q.ctx, q.by, &m, false)
}

func (s *Server) restKick(q *request) (int, any, error) {
	var m wire.RegisterRequest
	if err := q.decode(&m); err != nil {
		return 0, nil, err
	}
	if err := s.named(q, m.Relay, ""); err != nil {
		return 0, nil, err
	}
	var confirming []string
	var err error
	if m.UAID == nil && q.by.relay() {
		confirming, err = s.relayKick(q.ctx, q.by, &m, len(q.body))
	} else {
		confirming, err = s.setKick(q.ctx, q.by, &m, false, len(q.body))
	}
	if err != nil || len(confirming) == 0 {
		return http.StatusNoContent, nil, err
	}
	return http.StatusOK, wire.KickResponse{Confirming: confirming}, nil
}

// restAck takes an ack over REST, where there is nothing in flight to fall
// back on: it names versions.
func (s *Server) restAck(q *request) (int, any, error) {
	var m wire.AckRequest
	if err := q.decode(&m); err != nil {
		return 0, nil, err
	}
	if m.Updates == nil && m.Refuse == nil && m.Woken == nil {
		if m.UAIDs != nil {
			return 0, nil, fmt.Errorf("%w: over REST an ack names versions, not uaids only", edition.ErrConflict)
		}
		return 0, nil, fmt.Errorf("%w: an ack names updates", edition.ErrMalformed)
	}
	if err := s.named(q, m.Relay, ""); err != nil {
		return 0, nil, err
	}
	state, err := ackState(m.State, q.by.peer)
	if err == nil && m.Refuse != nil && !q.by.relay() {
		err = fmt.Errorf("%w: only a relay refuses updates", edition.ErrForbidden)
	}
	if err != nil {
		return 0, nil, err
	}
	if err := q.woken(m.Woken); err != nil {
		return 0, nil, err
	}
	u := edition.Update(m.Updates)
	if !q.by.relay() {
		agents, err := s.agents(q.by, m.Agents)
		if err != nil {
			return 0, nil, err
		}
		if u = s.own(u, agents); !m.Bodies {
			if u, err = s.unmap(q.by.owner, u); err != nil {
				return 0, nil, err
			}
		}
	}
	if len(m.Refuse) > 0 {
		s.m.refuseN(reasonUnknown, len(m.Refuse))
		if err := s.ownReport(q.by.peer, m.Store, q.by.owner, edition.Update(m.Refuse), edition.AckRefused); err != nil {
			return 0, nil, err
		}
	}
	if state != edition.AckDelivered {
		return http.StatusNoContent, nil, s.ownReport(q.by.peer, m.Store, q.by.owner, u, state)
	}
	return http.StatusNoContent, nil, s.ack(q.by.owner, u, state)
}

// ack passes on what was reported over REST. A device may have an event stream.
func (s *Server) ack(owner edition.Owner, u edition.Update, state edition.AckState) error {
	if err := s.hub.Ack(owner, u, state); err != nil {
		return err
	}
	if owner == edition.Direct {
		s.streams.landed(u)
	}
	return nil
}

// agents proves all the devices that an ack is from.
func (s *Server) agents(by caller, claims []wire.Agent) (map[edition.UAID]bool, error) {
	if err := s.room(len(claims)); err != nil {
		return nil, err
	}
	own := make(map[edition.UAID]bool, len(claims))
	for i := range claims {
		q := wire.RegisterRequest{UAID: &claims[i].UAID, Secret: claims[i].Secret, Proof: claims[i].Proof}
		if err := s.known(by, &q, false); err != nil {
			return nil, err
		}
		own[claims[i].UAID] = true
	}
	return own, nil
}

// own leaves out the events of devices that the caller did not prove.
func (s *Server) own(u edition.Update, agents map[edition.UAID]bool) edition.Update {
	own := u[:0]
	for _, ev := range u {
		if agents[ev.UAID] {
			own = append(own, ev)
		}
	}
	if n := len(u) - len(own); n > 0 {
		s.m.refuseN(reasonForeign, n)
	}
	return own
}
