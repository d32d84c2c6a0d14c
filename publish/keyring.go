package publish

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/edition-push/edition"
)

// A token is base64url of
//
//	format (1 byte) | key id (2, big endian) | nonce (24) | sealed UAID and AppID (32) | tag (16)
//
// sealed with XChaCha20-Poly1305, the first three bytes being authenticated
// too. The nonce is a keyed hash of what is sealed, as in SIV (RFC 5297): the
// same registration always gets the same token, without storage, and tokens of
// one device have nothing in common.
const (
	tokenFormat = 1
	headSize    = 3
	plainSize   = 32
	nonceEnd    = headSize + chacha20poly1305.NonceSizeX
	rawSize     = nonceEnd + plainSize + chacha20poly1305.Overhead
	tokenSize   = rawSize / 3 * 4 // exact: no bits left over, so a token has one spelling
)

// KeySize is the length of one key of a ring, in bytes.
const KeySize = 32

var errForged = fmt.Errorf("%w: this endpoint was not made here", edition.ErrNotFound)

// Keyring seals registrations into tokens and opens them again. The first key
// seals, every key opens. The keys can be exchanged while it is in use.
type Keyring struct {
	path string // fixed after construction
	keys atomic.Pointer[[]*ringKey]
}

// ringKey is one entry, with a subkey for each use.
type ringKey struct {
	id    uint16
	nonce []byte
	aead  cipher.AEAD
}

func newRingKey(id uint16, secret []byte) (*ringKey, error) {
	nonce, err := hkdf.Key(sha256.New, secret, nil, "edition.v1 endpoint nonce", sha256.Size)
	if err != nil {
		return nil, err
	}
	seal, err := hkdf.Key(sha256.New, secret, nil, "edition.v1 endpoint seal", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(seal)
	if err != nil {
		return nil, err
	}
	return &ringKey{id: id, nonce: nonce, aead: aead}, nil
}

// String shows no key.
func (k *Keyring) String() string { return fmt.Sprintf("<keyring of %d>", len(*k.keys.Load())) }

// GoString shows no key.
func (k *Keyring) GoString() string { return k.String() }

// Seal returns the token of a registration under the newest key: for the same
// registration the same token.
func (k *Keyring) Seal(key edition.Key) string {
	var plain [plainSize]byte
	copy(plain[:16], key.UAID[:])
	copy(plain[16:], key.AppID[:])

	newest := (*k.keys.Load())[0]
	raw := make([]byte, headSize, rawSize)
	raw[0] = tokenFormat
	binary.BigEndian.PutUint16(raw[1:], newest.id)
	mac := hmac.New(sha256.New, newest.nonce)
	mac.Write(plain[:])
	raw = append(raw, mac.Sum(nil)[:chacha20poly1305.NonceSizeX]...)
	raw = newest.aead.Seal(raw, raw[headSize:nonceEnd], plain[:], raw[:headSize])
	return base64.RawURLEncoding.EncodeToString(raw)
}

// scratch is what opening one token needs.
type scratch struct {
	text  [tokenSize]byte
	raw   [rawSize]byte
	plain [plainSize]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Open returns the registration that a token was sealed from. Everything else
// is ErrNotFound, after the same work whether the token names a key of this
// ring or not.
func (k *Keyring) Open(token string) (key edition.Key, err error) {
	if len(token) != tokenSize {
		return key, errForged
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	copy(s.text[:], token)
	if n, err := base64.RawURLEncoding.Strict().Decode(s.raw[:], s.text[:]); err != nil || n != rawSize || s.raw[0] != tokenFormat {
		return key, errForged
	}
	keys := *k.keys.Load()
	named := keys[0] // an unknown id is tried with it and fails: the id is authenticated
	id := binary.BigEndian.Uint16(s.raw[1:])
	for _, have := range keys {
		if have.id == id {
			named = have
		}
	}
	plain, err := named.aead.Open(s.plain[:0], s.raw[headSize:nonceEnd], s.raw[nonceEnd:], s.raw[:headSize])
	if err != nil || len(plain) != plainSize {
		return key, errForged
	}
	copy(key.UAID[:], plain[:16])
	copy(key.AppID[:], plain[16:])
	return key, nil
}
