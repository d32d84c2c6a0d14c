package publish

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// ring makes a key ring of keys that are all of one byte; their ids are the
// same number.
func ring(tb testing.TB, keys ...byte) *Keyring {
	tb.Helper()
	var file strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&file, "- {id: %d, key: %s}\n", k, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{k}, KeySize)))
	}
	parsed, err := parseKeys([]byte(file.String()))
	if err != nil {
		tb.Fatal(err)
	}
	r := new(Keyring)
	r.keys.Store(&parsed)
	return r
}

func newKey() edition.Key {
	return edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
}

func TestSealAndOpen(t *testing.T) {
	r := ring(t, 1)
	for range 100 {
		key := newKey()
		token := r.Seal(key)
		if len(token) > wire.MaxToken || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("token %q", token)
		}
		if again := r.Seal(key); again != token {
			t.Fatal("the same registration has the same token")
		}
		if got, err := r.Open(token); err != nil || got.Key != key {
			t.Fatalf("%v, %v", got, err)
		}
	}
}

// A token must open for ever: its form is a contract with every app server.
func TestTokensStayAsTheyAre(t *testing.T) {
	var key edition.Key
	for i := range 16 {
		key.UAID[i], key.AppID[i] = byte(i), byte(0xf0|i)
	}
	if got := ring(t, 7).Seal(key); got != goldenToken {
		t.Errorf("token is now %s", got)
	}
}

func TestTokensOfOneDeviceHaveNothingInCommon(t *testing.T) {
	r := ring(t, 1)
	a := newKey()
	b := a
	b.AppID[15] ^= 1
	x, y := r.Seal(a), r.Seal(b)
	same := 0
	for i := 4; i < len(x); i++ { // behind format and key id
		if x[i] == y[i] {
			same++
		}
	}
	if same > 16 { // of 96; 1.5 expected
		t.Errorf("%d characters in common:\n%s\n%s", same, x, y)
	}
}

func TestRotation(t *testing.T) {
	before, after, without := ring(t, 1), ring(t, 2, 1), ring(t, 2)
	key := newKey()
	old := before.Seal(key)
	fresh := after.Seal(key)
	if old == fresh {
		t.Error("the newest key seals")
	}
	for _, token := range []string{old, fresh} {
		if got, err := after.Open(token); err != nil || got.Key != key {
			t.Errorf("both keys open: %v", err)
		}
	}
	if _, err := before.Open(fresh); !errors.Is(err, edition.ErrNotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	if _, err := without.Open(old); !errors.Is(err, edition.ErrNotFound) {
		t.Errorf("a key that was removed: %v", err)
	}
}

func TestForgedTokens(t *testing.T) {
	r := ring(t, 2, 1)
	token := r.Seal(newKey())
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"empty": "", "short": token[:len(token)-1], "long": token + "A", "padded": token + "=", "half": token[:50],
		"foreign": ring(t, 3).Seal(newKey()), "line end": token[:99] + "\n", "carriage return": "\r" + token[:99],
		"other alphabet": "+/" + token[2:], "not ASCII": token[:98] + "é", "huge": strings.Repeat("A", 1<<20), "zero": strings.Repeat("A", 100),
	}
	for i := range len(raw) * 8 {
		forged := bytes.Clone(raw)
		forged[i/8] ^= 1 << (i % 8)
		bad[fmt.Sprint("bit ", i)] = base64.RawURLEncoding.EncodeToString(forged)
	}
	for name, token := range bad {
		key, err := r.Open(token)
		if !errors.Is(err, edition.ErrNotFound) || err.Error() != errForged.Error() || key != (Endpoint{}) {
			t.Errorf("%s: %v, %v: all refusals must look the same", name, key, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r := ring(f, 2, 1)
	f.Add(goldenToken)
	f.Add(r.Seal(newKey()))
	f.Add(ring(f, 1).Seal(newKey()))
	f.Add(r.SealFor(newKey(), []byte("x")))
	f.Add(r.sealParcel(formatMessage, parcel{}))
	f.Fuzz(func(t *testing.T, token string) {
		key, err := r.Open(token)
		if err != nil {
			if !errors.Is(err, edition.ErrNotFound) {
				t.Fatalf("%q: %v", token, err)
			}
			return
		}
		if k := key.Key; key.Owner == (KeyHash{}) && r.Seal(k) != token && ring(t, 1).Seal(k) != token {
			t.Fatalf("%q opened to %v, which seals to something else", token, key)
		}
	})
}

func TestKeyringShowsNoKey(t *testing.T) {
	r := ring(t, 0x41)
	for _, out := range []string{fmt.Sprintf("%v", r), fmt.Sprintf("%+v", r), fmt.Sprintf("%#v", r), fmt.Sprint(r)} {
		if out != "<keyring of 1>" {
			t.Errorf("prints as %q", out)
		}
	}
}

// TestTokensOfAllFormats: what is sealed comes out again, of its own format only.
func TestTokensOfAllFormats(t *testing.T) {
	r := ring(t, 1)
	key, owner := newKey(), newAppServer(t)
	m := parcel{edition.Event{Key: newKey(), Version: edition.MaxVersion}, time.Unix(1<<32-1, 0)}
	tokens := map[format]string{
		formatOpen: r.Seal(key), formatOwned: r.SealFor(key, owner.point),
		formatMessage: r.sealParcel(formatMessage, m), formatReceipt: r.sealParcel(formatReceipt, m),
	}
	if nonce := func(f format) string { return tokens[f][4:36] }; nonce(formatMessage) == nonce(formatReceipt) {
		t.Error("a message and its receipt are sealed with one nonce: who has both could forge others")
	}
	for f, token := range tokens {
		if len(token) != f.tokenSize() || len(token) > wire.MaxToken || f.rawSize()%3 != 0 {
			t.Errorf("format %d: %d characters", f, len(token))
		}
		e, err := r.Open(token)
		if endpoint := f == formatOpen || f == formatOwned; endpoint != (err == nil) {
			t.Errorf("format %d as an endpoint: %v", f, err)
		} else if endpoint && (e.Key != key || (e.Owner == keyHash(owner.point)) != (f == formatOwned) || (e.Owner == KeyHash{}) != (f == formatOpen)) {
			t.Errorf("format %d: %v", f, e)
		}
		for _, as := range []format{formatMessage, formatReceipt} {
			got, err := r.openParcel(as, token)
			if (as == f) != (err == nil) || as == f && got != m {
				t.Errorf("format %d as %d: %v, %v", f, as, got, err)
			}
		}
	}
	for _, ends := range []time.Time{{}, time.Unix(1<<40, 0), time.Unix(-5, 0)} {
		if _, err := r.openParcel(formatMessage, r.sealParcel(formatMessage, parcel{ends: ends})); err != nil {
			t.Errorf("%v: %v", ends, err)
		}
	}
}

// The parts of a token by hand, with nothing of the code but its subkeys.
func TestTokenLayout(t *testing.T) {
	r := ring(t, 7)
	key := newKey()
	raw, err := base64.RawURLEncoding.DecodeString(r.Seal(key))
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(raw[:3]) != "010007" || len(raw) != 3+chacha20poly1305.NonceSizeX+32+16 {
		t.Errorf("%d bytes, begins with %x", len(raw), raw[:3])
	}
	if bytes.Contains(raw, key.UAID[:4]) || bytes.Contains(raw, key.AppID[:4]) {
		t.Error("an id shows")
	}
}

func BenchmarkOpen(b *testing.B) {
	r := ring(b, 1)
	token := r.Seal(newKey())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Open(token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	r := ring(b, 1)
	key := newKey()
	b.ReportAllocs()
	for b.Loop() {
		r.Seal(key)
	}
}

const goldenToken = "AQAHFd9lSxMmD0_Y_k6fwFpBuUzVl9uvMiAsEvx3RmOh5zoQq9EfZb6QDi-FtpZmnsxuWRwXx3kK5aR_2puVjRzrTr9WjO6Q06U6"
