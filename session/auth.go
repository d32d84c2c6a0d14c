package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// caller is who speaks: a device, or an authenticated relay.
type caller struct {
	peer  *peer         // nil for a device
	owner edition.Owner // of the relay, once it has said its name
	from  netip.Addr
}

func (by caller) relay() bool { return by.peer != nil }

// name checks that a relay says its own name, and returns its number. id is
// that of its store; empty leaves the one known.
func (s *Server) name(ctx context.Context, p *peer, name, id string) (edition.Owner, error) {
	if p == nil {
		return 0, fmt.Errorf("%w: this connection is not authenticated as relay %.64q", edition.ErrForbidden, name)
	}
	if id != "" && slices.Contains(s.way(), id) {
		return 0, fmt.Errorf("%w: the upstreams form a loop: relay %.64q is above this one", edition.ErrConflict, name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if id == "" {
		id = p.storeID
	}
	if p.owner != edition.Direct && id == p.storeID {
		return p.owner, nil
	}
	owner, err := s.store.Relay(ctx, name, id)
	if err != nil {
		return 0, err
	}
	p.owner, p.storeID = owner, id
	return owner, nil
}

// Below reports whether a relay with a store of this ID is connected here.
func (s *Server) Below(store string) bool {
	for _, m := range s.roster.Load().members {
		m.mu.Lock()
		owner, id := m.owner, m.storeID
		m.mu.Unlock()
		if id == store && owner != edition.Direct && s.hub.Connected(edition.Holder{Owner: owner}) {
			return true
		}
	}
	return false
}

// report applies what a relay reports of its own store, unless that is another
// one by now: what the old one had is lost. No hello comes in between. store is
// empty where the report does not say.
func (p *peer) report(store string, apply func() error) (stale bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if store != "" && store != p.storeID {
		return true, nil
	}
	return false, apply()
}

// grant settles the custody that a relay gets.
func (p *peer) grant(asked string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch asked {
	case "":
		asked = p.fallback
	case wire.CustodyDevice, wire.CustodyRelay:
	default:
		return "", fmt.Errorf(`%w: custody %.20q is neither "device" nor "relay"`, edition.ErrMalformed, asked)
	}
	p.custody = asked
	return asked, nil
}

func (p *peer) granted() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.custody
}

var errProof = fmt.Errorf("%w: the secret of this uaid is missing or wrong", edition.ErrUnauthorized)

// shown returns the proof that a message carries, nil when it carries none.
func (by caller) shown(secret string, proof *edition.Proof) (*edition.Proof, error) {
	switch {
	case proof != nil && !by.relay():
		return nil, fmt.Errorf("%w: only a relay shows a proof, a device shows its secret", edition.ErrForbidden)
	case proof != nil:
		return proof, nil
	case secret == "":
		return nil, nil
	}
	p, err := edition.ProofOf(secret)
	return &p, err
}

// prove returns what is known of a device that the caller may act for. Who is
// unknown is ErrNotFound with the proof that was shown; a wrong proof, or none,
// is ErrUnauthorized. proven says that the proof was shown before.
func (s *Server) prove(by caller, uaid edition.UAID, shown *edition.Proof, proven bool) (edition.Agent, error) {
	agent, err := s.store.Agent(uaid)
	switch {
	case errors.Is(err, edition.ErrNotFound):
		if shown == nil {
			return edition.Agent{}, errProof
		}
		return edition.Agent{UAID: uaid, Proof: *shown, Owner: by.owner}, err
	case err != nil:
		return edition.Agent{}, err
	case shown == nil:
		// What is bound to a relay was proven through it.
		if !proven && (!by.relay() || by.owner == edition.Direct || agent.Owner != by.owner) {
			return edition.Agent{}, errProof
		}
	case !agent.Proof.Equal(*shown):
		return edition.Agent{}, errProof
	}
	return agent, nil
}

// remote returns the address of a peer, without port and zone.
func remote(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return remoteText(a.String())
}

func remoteText(s string) netip.Addr {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
