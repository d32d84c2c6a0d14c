package session

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Relay is one relay that may connect.
type Relay struct {
	Name     string
	Token    string // shown as "Authorization: Bearer …"; empty: not by token
	CertName string // common name or DNS name of its client certificate; empty: not by certificate
	Custody  string // wire.CustodyDevice or wire.CustodyRelay when its hello does not say; empty: device
}

// peer is a relay, and what is known of it beyond one connection.
type peer struct {
	// Fixed after construction.
	Relay
	hash   [sha256.Size]byte // of Token
	shares []*peer           // all that have this token, in the order of the configuration

	calls calls

	mu      sync.Mutex
	owner   edition.Owner // Guarded by mu. Direct until the store was asked.
	storeID string        // Guarded by mu. Of the relay's own store.
	custody string        // Guarded by mu. What its last hello or poll got.
	after   edition.Key   // Guarded by mu. Where its next poll goes on.
}

func newPeer(r Relay) *peer {
	if r.Custody == "" {
		r.Custody = wire.CustodyDevice
	}
	return &peer{Relay: r, hash: sha256.Sum256([]byte(r.Token)), custody: r.Custody}
}

// share notes which relays have a token in common: each is told by the name
// that it says.
func share(peers []*peer) {
	for _, p := range peers {
		p.shares = []*peer{p}
		if p.Token == "" {
			continue
		}
		p.shares = nil
		for _, q := range peers {
			if q.Token == p.Token {
				p.shares = append(p.shares, q)
			}
		}
	}
}

// named returns the relay of a name among those that what was shown proves, or
// nil.
func (p *peer) named(name string) *peer {
	if p == nil {
		return nil
	}
	for _, q := range p.shares {
		if q.Name == name {
			return q
		}
	}
	return nil
}

// caller is who speaks: a device, or an authenticated relay.
type caller struct {
	peer  *peer         // nil for a device
	owner edition.Owner // of the relay, once it has said its name
	from  netip.Addr
}

func (by caller) relay() bool { return by.peer != nil }

// authenticate finds the relay that a request comes from: nil for a device; of
// several that share a token the first, until it says its name. A bearer token that is none of ours is ErrUnauthorized, and never a device.
func (s *Server) authenticate(r *http.Request) (*peer, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
		var found *peer
		for _, p := range s.peers { // all of them, so that the time tells nothing
			if subtle.ConstantTimeCompare(hash[:], p.hash[:]) == 1 && p.Token != "" {
				found = p.shares[0]
			}
		}
		if found == nil {
			s.m.refuse(reasonToken)
			return nil, fmt.Errorf("%w: the bearer token is not a relay's", edition.ErrUnauthorized)
		}
		return found, nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, nil
	}
	cert := r.TLS.VerifiedChains[0][0]
	for _, p := range s.peers {
		if p.CertName != "" && (cert.Subject.CommonName == p.CertName || slices.Contains(cert.DNSNames, p.CertName)) {
			return p, nil
		}
	}
	return nil, nil
}

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
	for _, p := range s.peers {
		p.mu.Lock()
		owner, id := p.owner, p.storeID
		p.mu.Unlock()
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
	switch asked {
	case "":
		asked = p.Custody
	case wire.CustodyDevice, wire.CustodyRelay:
	default:
		return "", fmt.Errorf(`%w: custody %.20q is neither "device" nor "relay"`, edition.ErrMalformed, asked)
	}
	p.mu.Lock()
	p.custody = asked
	p.mu.Unlock()
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
