package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edition-push/edition"
)

// caller is a Caller as the configuration has it now. It is not changed but for
// its rate: another one takes its place.
type caller struct {
	// Fixed after construction.
	Caller
	hashes [][sha256.Size]byte // of Tokens
	*party

	mu   sync.Mutex
	rate bucket // Guarded by mu.
}

// party is what is known of a caller beyond one request, as long as its name is
// in the configuration.
type party struct {
	kicks []*kick // Guarded by outcomes.mu. The oldest first.
}

// newCaller makes a caller in the place of one with the same name, which may be
// nil.
func newCaller(c Caller, before *caller) *caller {
	n := &caller{Caller: c, party: new(party), rate: newBucket(c.Rate, c.Burst)}
	for _, token := range c.Tokens {
		if token != "" {
			n.hashes = append(n.hashes, sha256.Sum256([]byte(token)))
		}
	}
	if before != nil {
		n.party = before.party
		if before.Rate == c.Rate && before.Burst == c.Burst {
			before.mu.Lock()
			n.rate = before.rate
			before.mu.Unlock()
		}
	}
	return n
}

// Reload says anew who may ask, and for what. What callers have asked for stays
// theirs as long as they keep their names; kicks that were accepted are sent.
// It is called by one goroutine at a time.
func (g *Gateway) Reload(callers []Caller) {
	before := *g.callers.Load()
	list := make([]*caller, len(callers))
	for i, c := range callers {
		var old *caller
		if j := slices.IndexFunc(before, func(o *caller) bool { return o.Name == c.Name }); j >= 0 {
			old = before[j]
		}
		list[i] = newCaller(c, old)
	}
	g.callers.Store(&list)
}

// authenticate finds who calls. An address that has shown wrong tokens too
// often is ErrTooMany, whatever it shows; a client certificate is not guessed.
func (g *Gateway) authenticate(r *http.Request) (*caller, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		from := remote(r)
		if err := g.guesses.check(from); err != nil {
			return nil, err
		}
		if c := g.byToken(strings.TrimSpace(token)); c != nil {
			return c, nil
		}
		g.guesses.wrong(from)
		return nil, fmt.Errorf("%w: the bearer token is nobody's here", edition.ErrUnauthorized)
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		if c := g.byCert(r.TLS.VerifiedChains[0][0]); c != nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: show a bearer token or a client certificate", edition.ErrUnauthorized)
}

func (g *Gateway) byToken(token string) (found *caller) {
	hash := sha256.Sum256([]byte(token))
	for _, c := range *g.callers.Load() { // all of them, so that the time tells nothing
		for i := range c.hashes {
			if subtle.ConstantTimeCompare(hash[:], c.hashes[i][:]) == 1 {
				found = c
			}
		}
	}
	return found
}

func (g *Gateway) byCert(cert *x509.Certificate) *caller {
	for _, c := range *g.callers.Load() {
		if c.CertName != "" && (cert.Subject.CommonName == c.CertName || slices.Contains(cert.DNSNames, c.CertName)) {
			return c
		}
	}
	return nil
}

// remote is the address that a request comes from, invalid when unknown.
func remote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// take charges one kick to the caller's rate.
func (c *caller) take() error {
	if c.Rate == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.rate.take(time.Now()); wait > 0 {
		return edition.RetryAfter(fmt.Errorf("%w: more than %g kicks a second", edition.ErrTooMany, c.Rate), wait)
	}
	return nil
}

// mayUse reports whether an entry is one of the caller's.
func (c *caller) mayUse(entry string) bool { return slices.Contains(c.Drivers, entry) }

// mayReach reports whether every address in a target lies in the caller's
// networks. Addresses are what a driver stores under "ip", at any depth.
func (c *caller) mayReach(target json.RawMessage) bool {
	if len(c.Networks) == 0 {
		return true
	}
	var v any
	if json.Unmarshal(target, &v) != nil {
		return false
	}
	return c.within(v)
}

func (c *caller) within(v any) bool {
	switch v := v.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !c.within(e) })
	case map[string]any:
		for name, e := range v {
			if strings.EqualFold(name, "ip") && !c.inNetworks(e) || !c.within(e) {
				return false
			}
		}
	}
	return true
}

func (c *caller) inNetworks(v any) bool {
	text, ok := v.(string)
	ip, err := netip.ParseAddr(text)
	if !ok || err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(c.Networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}
