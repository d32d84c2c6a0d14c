package edition

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
)

// UAID identifies one user agent (a device). It is a UUIDv4 (RFC 9562 §5.4)
// made by the device, or by the server for clients whose protocol has it so.
// It is a capability: it is never part of a URL and never logged whole, see
// [UAID.LogValue].
type UAID [16]byte

// AppID identifies one app on a device. It is a UUIDv4 (RFC 9562 §5.4).
type AppID [16]byte

// NewUAID returns a random UAID.
func NewUAID() UAID { return UAID(newUUID()) }

// NewAppID returns a random AppID.
func NewAppID() AppID { return AppID(newUUID()) }

func newUUID() (u [16]byte) {
	rand.Read(u[:]) // never fails since Go 1.24
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// ParseUAID reads the 36-character form of a UUIDv4, upper or lower case.
// Any other text is [ErrMalformed].
func ParseUAID[T string | []byte](s T) (UAID, error) {
	u, ok := parseUUID(s)
	if !ok {
		return UAID{}, fmt.Errorf("%w: uaid %.40q is not a UUIDv4 such as 0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d", ErrMalformed, s)
	}
	return UAID(u), nil
}

// ParseAppID reads the 36-character form of a UUIDv4, upper or lower case.
// Any other text is [ErrMalformed].
func ParseAppID[T string | []byte](s T) (AppID, error) {
	u, ok := parseUUID(s)
	if !ok {
		return AppID{}, fmt.Errorf("%w: appid %.40q is not a UUIDv4 such as 0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d", ErrMalformed, s)
	}
	return AppID(u), nil
}

// uuidHex holds where the sixteen bytes of a UUID stand in its text.
var uuidHex = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

func parseUUID[T string | []byte](s T) (u [16]byte, ok bool) {
	u, ok = parseHex(s)
	return u, ok && u[6]>>4 == 4 && u[8]>>6 == 2
}

func parseHex[T string | []byte](s T) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	var bad byte
	for i, p := range uuidHex {
		hi, lo := hexDigits[s[p]], hexDigits[s[p+1]]
		bad |= hi | lo
		u[i] = hi<<4 | lo&15
	}
	if bad == notHex {
		return [16]byte{}, false
	}
	return u, true
}

// hexDigits has the value of each hexadecimal digit: those of a UUID are random,
// and a branch for each would be predicted wrongly every other time.
var hexDigits = func() (t [256]byte) {
	for i := range t {
		t[i] = notHex
	}
	for i := range byte(16) {
		t["0123456789abcdef"[i]], t["0123456789ABCDEF"[i]] = i, i
	}
	return t
}()

const notHex = 0xff

func appendUUID(dst []byte, u [16]byte) []byte {
	const digits = "0123456789abcdef"
	n := len(dst)
	dst = append(dst, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"...)
	text := dst[n:]
	for i, p := range uuidHex {
		text[p], text[p+1] = digits[u[i]>>4], digits[u[i]&15]
	}
	return dst
}

// AppendText appends the lower-case 36-character form.
func (u UAID) AppendText(dst []byte) ([]byte, error) { return appendUUID(dst, u), nil }

// AppendText appends the lower-case 36-character form.
func (a AppID) AppendText(dst []byte) ([]byte, error) { return appendUUID(dst, a), nil }

// MarshalText is [UAID.AppendText] into a new slice.
func (u UAID) MarshalText() ([]byte, error) { return appendUUID(make([]byte, 0, 36), u), nil }

// MarshalText is [AppID.AppendText] into a new slice.
func (a AppID) MarshalText() ([]byte, error) { return appendUUID(make([]byte, 0, 36), a), nil }

// UnmarshalText is [ParseUAID].
func (u *UAID) UnmarshalText(b []byte) (err error) { *u, err = ParseUAID(b); return err }

// UnmarshalText is [ParseAppID].
func (a *AppID) UnmarshalText(b []byte) (err error) { *a, err = ParseAppID(b); return err }

// UnmarshalJSON is [ParseUAID] on a JSON string. Unlike with a mere
// UnmarshalText, null is refused: it must not become the zero UAID.
func (u *UAID) UnmarshalJSON(b []byte) (err error) {
	if b, err = textOfJSON(b); err == nil {
		*u, err = ParseUAID(b)
	}
	return err
}

// UnmarshalJSON is [ParseAppID] on a JSON string; null is refused.
func (a *AppID) UnmarshalJSON(b []byte) (err error) {
	if b, err = textOfJSON(b); err == nil {
		*a, err = ParseAppID(b)
	}
	return err
}

// textOfJSON returns what a JSON string says.
func textOfJSON(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != '"' {
		return nil, fmt.Errorf("%w: %.40q is not a JSON string", ErrMalformed, b)
	}
	if inner := b[1 : len(b)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner, nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return []byte(s), nil
}

// String returns the whole UAID: for the wire, not for logs.
func (u UAID) String() string { return string(appendUUID(nil, u)) }

// String returns the whole AppID.
func (a AppID) String() string { return string(appendUUID(nil, a)) }

// LogValue shortens the UAID, which is a capability, to its first 8 digits.
func (u UAID) LogValue() slog.Value { return slog.StringValue(u.Short()) }

// Short returns the first 8 digits and an ellipsis, the form for logs and
// transcripts.
func (u UAID) Short() string { return hex.EncodeToString(u[:4]) + "…" }

// Compare orders UAIDs as their bytes, which is the order of every store.
func (u UAID) Compare(v UAID) int { return bytes.Compare(u[:], v[:]) }

// Key names one registration: an app on a device.
type Key struct {
	UAID  UAID
	AppID AppID
}

// Compare orders keys by UAID, then AppID.
func (k Key) Compare(l Key) int {
	if c := bytes.Compare(k.UAID[:], l.UAID[:]); c != 0 {
		return c
	}
	return bytes.Compare(k.AppID[:], l.AppID[:])
}

// SecretSize is the number of random bytes in a device's secret.
const SecretSize = 32

// Proof is the hash of a device's secret: what stores keep and what a relay
// shows its upstream, so that the secret itself never travels past the first
// hop. A secret holds 256 random bits, so a plain hash cannot be guessed back.
type Proof [sha256.Size]byte

// proofDomain keeps this use of SHA-256 apart from any other.
const proofDomain = "edition.v1 secret\x00"

// ProofOf hashes a secret in its wire form, 32 bytes in base64url (RFC 4648
// §5) without padding. Another form is [ErrMalformed].
func ProofOf(secret string) (Proof, error) {
	var raw [SecretSize + 1]byte
	if base64.RawURLEncoding.DecodedLen(len(secret)) != SecretSize {
		return Proof{}, fmt.Errorf("%w: a secret is %d random bytes in base64url without padding", ErrMalformed, SecretSize)
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(secret)); err != nil || n != SecretSize {
		return Proof{}, fmt.Errorf("%w: a secret is %d random bytes in base64url without padding", ErrMalformed, SecretSize)
	}
	return sha256.Sum256(append([]byte(proofDomain), raw[:SecretSize]...)), nil
}

// ProofOfUAID is the proof of a device whose protocol takes the UAID itself for
// the credential: SimplePush and the Mozilla push protocol.
func ProofOfUAID(u UAID) Proof {
	return sha256.Sum256(append([]byte("edition uaid\x00"), u[:]...))
}

// NewSecret returns a random secret in its wire form.
func NewSecret() string {
	var raw [SecretSize]byte
	rand.Read(raw[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// Equal compares in constant time.
func (p Proof) Equal(q Proof) bool { return subtle.ConstantTimeCompare(p[:], q[:]) == 1 }

// MarshalText is base64url without padding.
func (p Proof) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, p[:]), nil
}

// UnmarshalText reads base64url without padding; another form is [ErrMalformed].
func (p *Proof) UnmarshalText(b []byte) error {
	raw, err := base64.RawURLEncoding.Strict().AppendDecode(nil, b)
	if err != nil || len(raw) != len(p) {
		return fmt.Errorf("%w: a proof is %d bytes in base64url without padding", ErrMalformed, len(p))
	}
	copy(p[:], raw)
	return nil
}
