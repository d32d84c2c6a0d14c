package publish

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/SherClockHolmes/webpush-go"

	"github.com/edition-push/edition"
)

// open decrypts a message of one record (RFC 8188, RFC 8291).
func (s *subscription) open(t *testing.T, body []byte) []byte {
	t.Helper()
	if len(body) < 21 || len(body) < 21+int(body[20]) {
		t.Fatalf("a body of %d bytes", len(body))
	}
	salt, from, sealed := body[:16], body[21:21+body[20]], body[21+int(body[20]):]
	peer, err := ecdh.P256().NewPublicKey(from)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := s.key.ECDH(peer)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		key, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	ikm := derive(shared, s.auth, "WebPush: info\x00"+string(s.key.PublicKey().Bytes())+string(from), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), sealed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(bytes.TrimRight(plain, "\x00"), []byte{2})
}

// client sends what webpush-go makes to the world.
type client struct{ w *world }

func (c client) Do(r *http.Request) (*http.Response, error) {
	in := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.Path, r.Body)
	in.Header, in.ContentLength = r.Header, r.ContentLength
	rec := httptest.NewRecorder()
	c.w.ServeHTTP(rec, in)
	return rec.Result(), nil
}

// TestWebPushLibrary sends with a library that knows nothing of this server.
func TestWebPushLibrary(t *testing.T) {
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	point, err := base64.RawURLEncoding.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	w, sub := newWorld(t, Limits{}), newSubscription(t)
	owned := newKey()
	open, restricted := w.endpoint, w.register(edition.Registration{Key: owned, AppKey: point})
	send := func(endpoint, text, public string) int {
		t.Helper()
		resp, err := webpush.SendNotificationWithContext(t.Context(), []byte(text), &webpush.Subscription{
			Endpoint: publicURL + endpoint,
			Keys: webpush.Keys{
				Auth:   base64.RawURLEncoding.EncodeToString(sub.auth),
				P256dh: base64.RawURLEncoding.EncodeToString(sub.key.PublicKey().Bytes()),
			},
		}, &webpush.Options{
			HTTPClient: client{w}, Subscriber: "ops@example.org", Topic: "t", TTL: 60, Urgency: webpush.UrgencyHigh,
			VAPIDPublicKey: public, VAPIDPrivateKey: private,
		})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, endpoint := range []string{open, restricted} {
		if status := send(endpoint, "hello "+endpoint, public); status != 201 {
			t.Fatalf("%s: %d", endpoint, status)
		}
	}
	if status := send(restricted, "x", otherKey); status != 403 {
		t.Errorf("a key that has not signed: %d", status)
	}
	for _, c := range []struct {
		app      edition.Key
		endpoint string
	}{{w.app, open}, {owned, restricted}} {
		w.app = c.app
		_, bodies := w.waiting()
		if len(bodies) != 1 || bodies[0] == nil {
			t.Fatalf("%d bodies wait", len(bodies))
		}
		b := bodies[0]
		if got := string(sub.open(t, b.Data)); got != "hello "+c.endpoint {
			t.Errorf("decrypted %q", got)
		}
		if b.AppID != c.app.AppID || b.Encoding != codingAES128GCM || b.Urgency != edition.UrgencyHigh || b.Receipt {
			t.Errorf("carries %+v", b)
		}
	}
}
