package webpush

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// subscription is what a device registers and what is stored: a
// PushSubscription of the W3C's Push API without what is not used.
type subscription struct {
	Endpoint string `json:"endpoint"`
	Keys     *keys  `json:"keys,omitempty"` // nil: kicked without a message
}

type keys struct {
	P256DH string `json:"p256dh"`
	Auth   string `json:"auth"`
}

// target is a subscription, read.
type target struct {
	endpoint *url.URL
	ua       *ecdh.PublicKey // nil without keys
	auth     []byte
}

// authSize is that of the secret a user agent shares (RFC 8291, section 3.2).
const authSize = 16

func decode(raw json.RawMessage) (s subscription, err error) {
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf(`%w: the target is not an object such as {"endpoint":"https://…","keys":{"p256dh":"…","auth":"…"}}`, edition.ErrMalformed)
	}
	if s.Endpoint == "" {
		return s, fmt.Errorf("%w: the target has no endpoint", edition.ErrMalformed)
	}
	return s, nil
}

// parse reads a subscription that the guard allows.
func parse(s subscription, g *outbound.Guard) (t target, err error) {
	if t.endpoint, err = g.Check(s.Endpoint); err != nil {
		return t, fmt.Errorf("endpoint: %w", err)
	}
	if err := plainPath(t.endpoint); err != nil {
		return t, err
	}
	if s.Keys == nil {
		return t, nil
	}
	point, err := decode64(s.Keys.P256DH)
	if err == nil {
		t.ua, err = ecdh.P256().NewPublicKey(point)
	}
	if err != nil {
		return t, fmt.Errorf("%w: keys.p256dh is not a point of P-256, 65 bytes in base64url", edition.ErrMalformed)
	}
	if t.auth, err = decode64(s.Keys.Auth); err != nil || len(t.auth) != authSize {
		return t, fmt.Errorf("%w: keys.auth is not %d bytes in base64url", edition.ErrMalformed, authSize)
	}
	return t, nil
}

// stored is the target in the one spelling that is kept.
func (t *target) stored() (json.RawMessage, error) {
	s := subscription{Endpoint: t.endpoint.String()}
	if t.ua != nil {
		encode := base64.RawURLEncoding.EncodeToString
		s.Keys = &keys{P256DH: encode(t.ua.Bytes()), Auth: encode(t.auth)}
	}
	return json.Marshal(s)
}

// origin is what a token is signed for (RFC 8292, section 2).
func (t *target) origin() string { return "https://" + t.endpoint.Host }

// plainPath gives a URL's path and query one spelling (RFC 3986, section
// 6.2.2), or else one device could aim at one endpoint by many names: letters
// and digits are not escaped. A path with "." or ".." is refused: it leads to
// another.
func plainPath(u *url.URL) error {
	path := unescape(u.EscapedPath())
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return fmt.Errorf("%w: endpoint: the path has a part %q", edition.ErrMalformed, part)
		}
	}
	u.RawQuery = unescape(u.RawQuery)
	var err error
	u.RawPath = path
	if u.Path, err = url.PathUnescape(path); err != nil {
		return fmt.Errorf("%w: endpoint: the path cannot be read", edition.ErrMalformed)
	}
	if u.Path == "" {
		u.Path, u.RawPath = "/", "/"
	}
	return nil
}

// unescape decodes what need not be escaped, and writes the rest in capitals.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		code := s[i : i+3]
		if c, err := url.PathUnescape(code); err == nil && unreserved(c[0]) {
			b.WriteString(c)
		} else {
			b.WriteString(strings.ToUpper(code))
		}
		i += 2
	}
	return b.String()
}

// unreserved reports whether a byte means the same with and without an escape
// (RFC 3986, section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// decode64 reads base64 with either alphabet, padded or not: browsers, servers
// and libraries differ.
func decode64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
