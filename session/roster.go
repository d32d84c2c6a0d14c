package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Relay is one relay that may connect.
type Relay struct {
	Name string
	// Tokens are those of which it shows one, as "Authorization: Bearer …":
	// one as a rule, two while the old one gives way to the new one. None: not
	// by token.
	Tokens   []string
	CertName string // common name or DNS name of its client certificate; empty: not by certificate
	Custody  string // wire.CustodyDevice or wire.CustodyRelay when its hello does not say; empty: device
}

// peer is a relay, and what is known of it beyond one connection. It lives as
// long as its name is in the roster, whatever proves it.
type peer struct {
	name  string // Fixed after construction.
	calls calls

	mu       sync.Mutex
	owner    edition.Owner // Guarded by mu. Direct until the store was asked.
	storeID  string        // Guarded by mu. Of the relay's own store.
	fallback string        // Guarded by mu. The custody of a hello that does not say.
	custody  string        // Guarded by mu. What its last hello or poll got.
	after    edition.Key   // Guarded by mu. Where its next poll goes on.
}

// roster says who may connect as a relay. It is never changed: another one
// takes its place.
type roster struct {
	members []member      // in the order of the configuration
	over    chan struct{} // closed when another one has taken its place
}

// member is a relay and what proves it.
type member struct {
	*peer
	hashes   [][sha256.Size]byte // of its tokens
	certName string
}

// badge is what a relay has shown.
type badge struct {
	hash [sha256.Size]byte // of the token
	cert *x509.Certificate // verified; nil: it was a token
}

// newRoster makes a roster. Relays of the one before keep what is known of them.
func newRoster(relays []Relay, before *roster) *roster {
	r := &roster{over: make(chan struct{})}
	for _, c := range relays {
		m := member{peer: before.named(c.Name), certName: c.CertName}
		if c.Custody == "" {
			c.Custody = wire.CustodyDevice
		}
		if m.peer == nil {
			m.peer = &peer{name: c.Name, custody: c.Custody}
		}
		m.fallBack(c.Custody)
		for _, token := range c.Tokens {
			if token != "" {
				m.hashes = append(m.hashes, sha256.Sum256([]byte(token)))
			}
		}
		r.members = append(r.members, m)
	}
	return r
}

func (p *peer) fallBack(custody string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fallback = custody
}

// named returns the relay of a name, or nil.
func (r *roster) named(name string) *peer {
	if r == nil {
		return nil
	}
	for _, m := range r.members {
		if m.name == name {
			return m.peer
		}
	}
	return nil
}

// proven returns the relays that a badge proves. All tokens are looked at,
// whichever it is, so that the time tells nothing.
func (r *roster) proven(b *badge) (list []*peer) {
	for i := range r.members {
		if r.members[i].takes(b) {
			list = append(list, r.members[i].peer)
		}
	}
	return list
}

func (m *member) takes(b *badge) bool {
	if b.cert != nil {
		return m.certName != "" && (b.cert.Subject.CommonName == m.certName || slices.Contains(b.cert.DNSNames, m.certName))
	}
	same := 0
	for i := range m.hashes {
		same |= subtle.ConstantTimeCompare(m.hashes[i][:], b.hash[:])
	}
	return same == 1
}

// proves reports whether a badge proves p, or when p is nil anybody.
func (r *roster) proves(b *badge, p *peer) bool {
	list := r.proven(b)
	return p == nil && len(list) > 0 || p != nil && slices.Contains(list, p)
}

// who returns the relay of a name if the badge proves it, else nil: of relays
// that share a token, each is told by the name that it says.
func (r *roster) who(b *badge, name string) *peer {
	if b == nil {
		return nil
	}
	for _, p := range r.proven(b) {
		if p.name == name {
			return p
		}
	}
	return nil
}

// authenticate finds the relay that a request comes from: nil for a device; of
// several that share a token the first, until it says its name. A bearer token
// that is none of ours is ErrUnauthorized, and never a device.
func (s *Server) authenticate(r *http.Request) (*badge, *peer, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		b := &badge{hash: sha256.Sum256([]byte(strings.TrimSpace(token)))}
		found := s.roster.Load().proven(b)
		if len(found) == 0 {
			s.m.refuse(reasonToken)
			return nil, nil, errToken
		}
		return b, found[0], nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, nil, nil
	}
	b := &badge{cert: r.TLS.VerifiedChains[0][0]}
	if found := s.roster.Load().proven(b); len(found) > 0 {
		return b, found[0], nil
	}
	return nil, nil, nil
}

var errToken = fmt.Errorf("%w: the bearer token is not a relay's", edition.ErrUnauthorized)

// Reload says anew who may connect as a relay. Who is no longer proven by what
// it has shown is disconnected: its WebSocket is closed with
// wire.CloseUnauthorized, its poll answered with ErrUnauthorized. All others
// keep their connections, and what is bound to a name stays bound to it. It is
// called by one goroutine at a time.
func (s *Server) Reload(relays []Relay) {
	old := s.roster.Load()
	s.roster.Store(newRoster(relays, old))
	close(old.over)
	var conns []*conn
	for i := range wheelSlots {
		conns = s.wheel.in(conns[:0], i)
		for _, c := range conns {
			if c.badge != nil {
				c.recheck()
			}
		}
	}
}

// recheck ends the connection of a relay that may not connect any more. It is
// called by Reload, and after each step that an older roster may have allowed.
func (c *conn) recheck() {
	c.mu.Lock()
	linked, closing := c.linked, c.closing
	c.mu.Unlock()
	if closing || c.s.roster.Load().proves(c.badge, linked) {
		return
	}
	name := ""
	if linked != nil {
		name = linked.name
	}
	c.s.log.Info("a relay is disconnected: what it has shown proves it no more", "relay", name, "remote", c.net.RemoteAddr())
	c.end(wire.CloseUnauthorized, "the token or certificate of this relay counts no more", reasonRevoked)
}

// stands returns what is closed when it is to be asked again whether a relay may
// connect. A device may: it is never asked.
func (s *Server) stands(b *badge, p *peer) (again <-chan struct{}, err error) {
	if b == nil {
		return nil, nil
	}
	r := s.roster.Load()
	if !r.proves(b, p) {
		s.m.refuse(reasonToken)
		return nil, errToken
	}
	return r.over, nil
}
