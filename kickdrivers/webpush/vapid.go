package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Keys are a VAPID key pair as text: base64url without padding.
type Keys struct {
	Private string // 32 bytes: for vapid_key
	// Public is 65 bytes, an uncompressed point of P-256: what an app gives
	// as applicationServerKey when it subscribes.
	Public string
}

// GenerateKeys makes a new key pair.
func GenerateKeys() (Keys, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Keys{}, err
	}
	k, err := newKey(private)
	if err != nil {
		return Keys{}, err
	}
	b, err := private.Bytes()
	if err != nil {
		return Keys{}, err
	}
	return Keys{Private: base64.RawURLEncoding.EncodeToString(b), Public: k.public}, nil
}

// PublicKey returns the public key that belongs to a private one, which may be
// given as GenerateKeys writes it or as PEM.
func PublicKey(private []byte) (string, error) {
	k, err := parseKey(private)
	if err != nil {
		return "", err
	}
	return k.public, nil
}

// vapidKey signs.
type vapidKey struct {
	private *ecdsa.PrivateKey
	public  string // as in the parameter k
}

func newKey(private *ecdsa.PrivateKey) (*vapidKey, error) {
	b, err := private.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	return &vapidKey{private: private, public: base64.RawURLEncoding.EncodeToString(b)}, nil
}

var errKey = errors.New("is not a private key of P-256: 32 bytes in base64url, or PEM")

// parseKey reads a private key. No error carries any of it.
func parseKey(b []byte) (*vapidKey, error) {
	if block, _ := pem.Decode(b); block != nil {
		private, err := parseDER(block.Bytes)
		if err != nil || private.Curve != elliptic.P256() {
			return nil, errKey
		}
		return newKey(private)
	}
	raw, err := decode64(string(b))
	if err != nil {
		return nil, errKey
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, errKey
	}
	return newKey(private)
}

func parseDER(der []byte) (*ecdsa.PrivateKey, error) {
	if private, err := x509.ParseECPrivateKey(der); err == nil {
		return private, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errKey
	}
	return private, nil
}

// A token is good for tokenLife, less than the 24 hours that RFC 8292,
// section 2, allows, and is replaced when half of that is over: clocks differ.
const (
	tokenLife = 12 * time.Hour
	maxTokens = 1024 // push services whose tokens are kept
)

// signer makes and keeps the tokens that prove to a push service who sends.
type signer struct {
	// Fixed after construction.
	key     *vapidKey
	subject string

	mu     sync.Mutex
	tokens map[string]token // by origin of the push service
}

type token struct {
	header string
	until  time.Time // no longer used then
}

func newSigner(key *vapidKey, subject string) *signer {
	return &signer{key: key, subject: subject, tokens: make(map[string]token)}
}

// authorization returns the header for a push service (RFC 8292, section 3).
func (s *signer) authorization(origin string) (string, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tokens[origin]; ok && now.Before(t.until) {
		return t.header, nil
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"aud": origin,
		"exp": now.Add(tokenLife).Unix(),
		"sub": s.subject,
	}).SignedString(s.key.private)
	if err != nil {
		return "", fmt.Errorf("signing for the push service: %w", err)
	}
	if len(s.tokens) >= maxTokens {
		clear(s.tokens)
	}
	t := token{header: "vapid t=" + signed + ", k=" + s.key.public, until: now.Add(tokenLife / 2)}
	s.tokens[origin] = t
	return t.header, nil
}
