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

// caller is a Caller, and what is known of it beyond one request.
type caller struct {
	// Fixed after construction.
	Caller
	hash [sha256.Size]byte // of Token

	mu   sync.Mutex
	rate bucket // Guarded by mu.

	kicks []*kick // Guarded by outcomes.mu. The oldest first.
}

func newCaller(c Caller) *caller {
	return &caller{Caller: c, hash: sha256.Sum256([]byte(c.Token)), rate: newBucket(c.Rate, c.Burst)}
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
	for _, c := range g.callers { // all of them, so that the time tells nothing
		if subtle.ConstantTimeCompare(hash[:], c.hash[:]) == 1 && c.Token != "" {
			found = c
		}
	}
	return found
}

func (g *Gateway) byCert(cert *x509.Certificate) *caller {
	for _, c := range g.callers {
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
