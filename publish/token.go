package publish

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/edition-push/edition"
)

var errForged = fmt.Errorf("%w: this endpoint was not made here", edition.ErrNotFound)

// Endpoint is what the token of an endpoint says.
type Endpoint struct {
	edition.Key
	// Owner is the one application server that may send to it; everybody when
	// it is zero.
	Owner KeyHash
}

const keyHashSize = 21

// KeyHash names an application server by its VAPID key: as many bytes of the
// key's SHA-256 as a token has room for. To find another key with the same
// 168 bits is as hard as to find the key itself.
type KeyHash [keyHashSize]byte

func keyHash(appKey []byte) (h KeyHash) {
	sum := sha256.Sum256(appKey)
	copy(h[:], sum[:])
	return h
}

// Seal returns the token of an endpoint that everybody may send to who has it,
// under the newest key: for the same registration the same token.
func (k *Keyring) Seal(key edition.Key) string {
	var b [maxSealed]byte
	return k.seal(formatOpen, appendKey(b[:0], key))
}

// SealFor returns the token of an endpoint that only the application server
// with a VAPID key may send to: for the same registration and key the same.
func (k *Keyring) SealFor(key edition.Key, appKey []byte) string {
	var b [maxSealed]byte
	hash := keyHash(appKey)
	return k.seal(formatOwned, append(appendKey(b[:0], key), hash[:]...))
}

// Open returns what the token of an endpoint was sealed from. Everything else
// is ErrNotFound, after the same work whether the token names a key of this
// ring or not.
func (k *Keyring) Open(token string) (e Endpoint, err error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	f, sealed, err := k.open(s, token, formatOpen, formatOwned)
	if err != nil {
		return e, err
	}
	rest := readKey(&e.Key, sealed)
	if f == formatOwned {
		copy(e.Owner[:], rest)
	}
	return e, nil
}

// parcel is what the token of a message says.
type parcel struct {
	edition.Event           // its key names the slot
	ends          time.Time // of its TTL or up to a second later, in whole seconds
}

func (k *Keyring) sealParcel(f format, m parcel) string {
	var buf [maxSealed]byte
	b := appendKey(buf[:0], m.Key)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Version))
	b = binary.BigEndian.AppendUint32(b, uint32(min(max(0, m.ends.Unix()), math.MaxUint32)))
	return k.seal(f, b)
}

// openParcel opens the token of a message, or of its receipt: f says which.
func (k *Keyring) openParcel(f format, token string) (m parcel, err error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	_, sealed, err := k.open(s, token, f, f)
	if err != nil {
		return m, err
	}
	rest := readKey(&m.Key, sealed)
	m.Version = edition.Version(binary.BigEndian.Uint64(rest))
	m.ends = time.Unix(int64(binary.BigEndian.Uint32(rest[8:])), 0)
	return m, nil
}

func appendKey(b []byte, k edition.Key) []byte {
	return append(append(b, k.UAID[:]...), k.AppID[:]...)
}

func readKey(k *edition.Key, b []byte) (rest []byte) {
	return b[copy(k.UAID[:], b)+copy(k.AppID[:], b[16:]):]
}
