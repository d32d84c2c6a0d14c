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
)

// A token is base64url of
//
//	format (1 byte) | key id (2, big endian) | nonce (24) | sealed (see sealedSize) | tag (16)
//
// sealed with XChaCha20-Poly1305, the first three bytes being authenticated
// too. The nonce is a keyed hash of the format and of what is sealed, as in SIV
// (RFC 5297): the same registration always gets the same token, without storage,
// tokens of one device have nothing in common, and no nonce is used twice.
const (
	headSize = 3
	nonceEnd = headSize + chacha20poly1305.NonceSizeX
)

// format says what is sealed in a token.
type format byte

const (
	formatOpen    format = iota + 1 // UAID, AppID: an endpoint for everybody who has it
	formatOwned                     // the same and a KeyHash: an endpoint for one application server
	formatMessage                   // UAID, slot, version (8), end of its TTL (4, Unix time): a message
	formatReceipt                   // the same: what became of it

)

// sealedSize is exact for its format, and each is so chosen that no bits of
// base64 are left over: a token has one spelling.
func (f format) sealedSize() int {
	switch f {
	case formatOpen:
		return 16 + 16
	case formatOwned:
		return 16 + 16 + keyHashSize
	case formatMessage, formatReceipt:
		return 16 + 16 + 8 + 4
	}
	return -1
}

func (f format) rawSize() int { return nonceEnd + f.sealedSize() + chacha20poly1305.Overhead }

func (f format) tokenSize() int { return f.rawSize() / 3 * 4 }

// The greatest of all formats.
const (
	maxSealed = 16 + 16 + keyHashSize
	maxRaw    = nonceEnd + maxSealed + chacha20poly1305.Overhead
)

// KeySize is the length of one key of a ring, in bytes.
const KeySize = 32

// Keyring seals registrations, and messages, into tokens and opens them again. The first key
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

// seal returns the token of what is sealed under the newest key.
func (k *Keyring) seal(f format, sealed []byte) string {
	newest := (*k.keys.Load())[0]
	raw := make([]byte, headSize, maxRaw)
	raw[0] = byte(f)
	binary.BigEndian.PutUint16(raw[1:], newest.id)
	mac := hmac.New(sha256.New, newest.nonce)
	if f != formatOpen { // the first tokens were made without
		mac.Write(raw[:1])
	}
	mac.Write(sealed)
	raw = append(raw, mac.Sum(nil)[:chacha20poly1305.NonceSizeX]...)
	raw = newest.aead.Seal(raw, raw[headSize:nonceEnd], sealed, raw[:headSize])
	return base64.RawURLEncoding.EncodeToString(raw)
}

// scratch is what opening one token needs.
type scratch struct {
	text   [maxRaw / 3 * 4]byte
	raw    [maxRaw]byte
	sealed [maxSealed]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// open returns what is sealed in a token of one of two formats, in s. Everything
// else is ErrNotFound, after the same work whether the token names a key of this
// ring or not.
func (k *Keyring) open(s *scratch, token string, a, b format) (f format, sealed []byte, err error) {
	switch len(token) {
	case a.tokenSize():
		f = a
	case b.tokenSize():
		f = b
	default:
		return 0, nil, errForged
	}
	text, raw := s.text[:len(token)], s.raw[:f.rawSize()]
	copy(text, token)
	if n, err := base64.RawURLEncoding.Strict().Decode(raw, text); err != nil || n != len(raw) || format(raw[0]) != f {
		return 0, nil, errForged
	}
	keys := *k.keys.Load()
	named := keys[0] // an unknown id is tried with it and fails: the id is authenticated
	id := binary.BigEndian.Uint16(raw[1:])
	for _, have := range keys {
		if have.id == id {
			named = have
		}
	}
	sealed, err = named.aead.Open(s.sealed[:0], raw[headSize:nonceEnd], raw[nonceEnd:], raw[:headSize])
	if err != nil || len(sealed) != f.sealedSize() {
		return 0, nil, errForged
	}
	return f, sealed, nil
}
