package session

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// setKick changes how a device is woken, null forgets it; or it confirms a
// route. It returns the drivers whose routes wait for a code.
func (s *Server) setKick(ctx context.Context, by caller, q *wire.RegisterRequest, proven bool, size int) ([]string, error) {
	if q.UAID == nil {
		return nil, fmt.Errorf("%w: kick names a uaid", edition.ErrMalformed)
	}
	if err := s.known(by, q, proven); err != nil {
		return nil, err
	}
	if by.relay() {
		return nil, s.notBehind()
	}
	return s.setRoutes(ctx, by, edition.Holder{UAID: *q.UAID}, q, size)
}

// relayKick is setKick for a relay itself.
func (s *Server) relayKick(ctx context.Context, by caller, q *wire.RegisterRequest, size int) ([]string, error) {
	return s.setRoutes(ctx, by, edition.Holder{Owner: by.owner}, q, size)
}

func (s *Server) setRoutes(ctx context.Context, by caller, who edition.Holder, q *wire.RegisterRequest, size int) ([]string, error) {
	switch {
	case (len(q.Kick) == 0) == (q.Confirm == ""):
		return nil, fmt.Errorf("%w: kick has either a kick or the code that it confirms", edition.ErrMalformed)
	case q.Confirm != "":
		return s.confirm(ctx, by, who, q.Confirm)
	}
	routes, err := s.check(by, q.Kick, size)
	if err != nil {
		return nil, err
	}
	if err := s.store.ChangeRoutes(ctx, who, routes.Over); err != nil {
		return nil, err
	}
	return s.challenge(who, routes), nil
}

// routes is check for a device that registers.
func (s *Server) routes(by caller, kick json.RawMessage, size int) (edition.Routes, error) {
	if by.relay() {
		return nil, s.notBehind()
	}
	return s.check(by, kick, size)
}

func (s *Server) notBehind() error {
	s.m.refuse(reasonKick)
	return fmt.Errorf("%w: how its devices are woken stays with a relay", edition.ErrForbidden)
}

// check turns a kick, which is an object or a list of them, into routes, as far
// as the operator allows them; null is none, which takes the place of those
// there were.
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

// challenge has codes sent to those routes of a party that wait for one, when
// new says that there may be some, and returns the names of their drivers.
func (s *Server) challenge(who edition.Holder, fresh edition.Routes) []string {
	if !slices.ContainsFunc(fresh, waits) {
		return nil
	}
	drivers := s.confirming(who) // what was confirmed before stays so
	if len(drivers) > 0 && s.sendCodes != nil {
		s.sendCodes(who)
	}
	return drivers
}

func waits(r edition.Route) bool { return r.Target != nil && r.Confirm != "" }

func (s *Server) confirming(who edition.Holder) []string {
	routes, err := s.store.Routes(who)
	if err != nil {
		s.log.Warn("cannot read routes", "uaid", who.UAID, "err", err)
	}
	return drivers(routes, waits)
}

func drivers(routes edition.Routes, which func(edition.Route) bool) (names []string) {
	for _, r := range routes {
		if which(r) {
			names = append(names, r.Driver)
		}
	}
	return names
}

// Wrong codes of one address (IPv4, or an IPv6 /64): a code has 40 bits.
const (
	guessRate  = 5 // a second
	guessBurst = 50
)

// confirm takes a code that came in a kick: the routes that wait for it may be
// used from now on.
func (s *Server) confirm(ctx context.Context, by caller, who edition.Holder, code string) ([]string, error) {
	if err := s.guesses.take(s.clock(), by.from); err != nil {
		s.m.refuse(reasonRate)
		return nil, err
	}
	found := false
	err := s.store.ChangeRoutes(ctx, who, func(old edition.Routes) (out edition.Routes) {
		out, found = old.Confirmed(code)
		return out
	})
	if err == nil && !found {
		s.m.refuse(reasonCode)
		err = fmt.Errorf("%w: no route waits for this code", edition.ErrForbidden)
	}
	if err != nil {
		return nil, err
	}
	s.guesses.giveBack(by.from)
	return s.confirming(who), nil
}

func isGone(r edition.Route) bool { return r.Target == nil }

// gone says which of a party's routes do not work any more, nil when all do. It
// is told until others are registered.
func gone(uaid *edition.UAID, routes edition.Routes) []wire.Gone {
	if names := drivers(routes, isGone); len(names) > 0 {
		return []wire.Gone{{UAID: uaid, Drivers: names}}
	}
	return nil
}

// relayGone is gone for a relay.
func (s *Server) relayGone(owner edition.Owner) []wire.Gone {
	routes, err := s.store.Routes(edition.Holder{Owner: owner})
	if err != nil {
		s.log.Warn("cannot read a relay's routes", "err", err)
	}
	return gone(nil, routes)
}
