package publish

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edition-push/edition"
)

const (
	// maxCredentials bounds a token and its key as text, in bytes.
	maxCredentials = 2 << 10
	// maxTokenLife is how far ahead a token may end (RFC 8292 §2).
	maxTokenLife = 24 * time.Hour
	// clockSkew is how far an application server's clock may be off.
	clockSkew = time.Minute
)

var (
	errNoVAPID  = fmt.Errorf("%w: this endpoint takes messages of one application server only, which signs them (RFC 8292)", edition.ErrUnauthorized)
	errOtherKey = fmt.Errorf("%w: this endpoint belongs to another application server key", edition.ErrForbidden)
)

func vapidError(why string) error { return fmt.Errorf("%w: VAPID: %s", edition.ErrForbidden, why) }

// credentials are what an application server shows of itself: a signed token
// and the key, in base64url, that is said to have signed it.
type credentials struct{ token, key string }

// credentialsOf finds them in a request: "vapid t=…, k=…" (RFC 8292 §3), or, as
// its drafts had it, "WebPush …" with the key in Crypto-Key. Other schemes are
// as good as none.
func credentialsOf(h http.Header) (c credentials, err error) {
	values := h["Authorization"]
	if len(values) == 0 {
		return c, nil
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	switch {
	case strings.EqualFold(scheme, "vapid"):
		for name, value := range params([]string{rest}) {
			switch name {
			case "t":
				c.token = value
			case "k":
				c.key = value
			}
		}
	case strings.EqualFold(scheme, "webpush"):
		c.token, c.key = strings.TrimSpace(rest), param(h["Crypto-Key"], "p256ecdsa")
	default:
		return c, nil
	}
	switch {
	case len(values) > 1:
		return credentials{}, vapidError("Authorization is there twice")
	case c.token == "":
		return credentials{}, vapidError("the token is missing")
	case c.key == "":
		return credentials{}, vapidError("the key is missing")
	case len(c.token)+len(c.key) > maxCredentials:
		return credentials{}, vapidError("too large")
	}
	return c, nil
}

// verifier tells application servers by what they sign. It remembers whom it
// has verified: that is costly, and one token is good for a day of messages.
type verifier struct {
	// Fixed after construction.
	origin string // what a token must be made for
	parser *jwt.Parser

	shards [vapidShards]vapidShard
}

type vapidShard struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]verified // Guarded by mu. By the hash of the credentials.
}

type verified struct {
	who  KeyHash
	ends time.Time
}

const (
	vapidShards   = 16
	vapidPerShard = 512
)

// newVerifier returns a verifier of tokens for the origin of a public URL.
func newVerifier(publicURL string) *verifier {
	v := &verifier{parser: jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithExpirationRequired(), jwt.WithLeeway(clockSkew),
	)}
	if u, err := url.Parse(publicURL); err == nil {
		v.origin = originOf(u)
	}
	for i := range v.shards {
		v.shards[i].known = make(map[[sha256.Size]byte]verified)
	}
	return v
}

// originOf is the ASCII form of a URL's origin (RFC 6454 §6.2).
func originOf(u *url.URL) string { return canonical(&url.URL{Scheme: u.Scheme, Host: u.Host}) }

// verify returns who signed, or ErrForbidden.
func (v *verifier) verify(c credentials) (KeyHash, error) {
	sum := sha256.Sum256([]byte(c.token + "\x00" + c.key))
	s := &v.shards[sum[0]%vapidShards]
	now := time.Now()
	s.mu.Lock()
	known, ok := s.known[sum]
	s.mu.Unlock()
	if ok && now.Before(known.ends) {
		return known.who, nil
	}
	fresh, err := v.check(c, now)
	if err != nil {
		return KeyHash{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= vapidPerShard {
		s.makeRoom(now)
	}
	s.known[sum] = fresh
	return fresh.who, nil
}

// makeRoom forgets whose tokens have ended, and if that is not enough, half of
// the others: they are verified again.
func (s *vapidShard) makeRoom(now time.Time) {
	for sum, k := range s.known {
		if !now.Before(k.ends) {
			delete(s.known, sum)
		}
	}
	for sum := range s.known {
		if len(s.known) <= vapidPerShard/2 {
			break
		}
		delete(s.known, sum)
	}
}

// check verifies the signature and the claims (RFC 8292 §2).
func (v *verifier) check(c credentials, now time.Time) (who verified, err error) {
	point, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(c.key, "="))
	if err != nil {
		return who, vapidError("the key is not base64url")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return who, vapidError("the key is not an uncompressed point on P-256")
	}
	var claims jwt.RegisteredClaims
	if _, err := v.parser.ParseWithClaims(c.token, &claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return who, vapidError("the token is not good: " + err.Error())
	}
	ends := claims.ExpiresAt.Time // there: the parser wants it
	if ends.After(now.Add(maxTokenLife + clockSkew)) {
		return who, vapidError("the token ends more than 24 hours from now")
	}
	if !v.isFor(claims.Audience) {
		return who, vapidError("the token is for another push service; its aud must be " + v.origin)
	}
	return verified{keyHash(point), ends.Add(clockSkew)}, nil
}

func (v *verifier) isFor(audience []string) bool {
	for _, a := range audience {
		if u, err := url.Parse(a); err == nil && originOf(u) == v.origin {
			return true
		}
	}
	return false
}

// sender returns who signed a request; nobody when no one did.
func (p *Publisher) sender(h http.Header) (KeyHash, error) {
	c, err := credentialsOf(h)
	if err != nil || c == (credentials{}) {
		return KeyHash{}, err
	}
	return p.vapid.verify(c)
}

// mayBeSentTo says why an application server may not send to an endpoint.
func (e *Endpoint) mayBeSentTo(who KeyHash) error {
	switch {
	case e.Owner == KeyHash{} || e.Owner == who:
		return nil
	case who == KeyHash{}:
		return errNoVAPID
	}
	return errOtherKey
}
