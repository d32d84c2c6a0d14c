package webpushsim_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
	"github.com/golang-jwt/jwt/v5"

	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/webpush/webpushsim"
)

func TestMain(m *testing.M) { leak.Main(m) }

func start(t *testing.T, o webpushsim.Options) (*webpushsim.Server, *http.Client) {
	t.Helper()
	s, err := webpushsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Roots()}, ForceAttemptHTTP2: true}}
	t.Cleanup(func() {
		hc.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, hc
}

// TestIndependentSender has a push that is made by another's library.
func TestIndependentSender(t *testing.T) {
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	kicks := make(chan webpushsim.Kick, 1)
	s, hc := start(t, webpushsim.Options{VAPIDKey: public, OnKick: func(k webpushsim.Kick) { kicks <- k }})
	dir := t.TempDir()
	if err := s.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	var sub webpush.Subscription
	b, err := os.ReadFile(filepath.Join(dir, "subscription.json"))
	if err == nil {
		err = json.Unmarshal(b, &sub)
	}
	if err != nil {
		t.Fatal(err)
	}
	res, err := webpush.SendNotification([]byte("wake up"), &sub, &webpush.Options{
		HTTPClient: hc, Subscriber: "push@example.org", TTL: 60, Topic: "topic", Urgency: webpush.UrgencyHigh,
		VAPIDPublicKey: public, VAPIDPrivateKey: private,
	})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated || res.Header.Get("Location") == "" {
		t.Fatalf("answered %s", res.Status)
	}
	k := <-kicks
	if string(k.Data) != "wake up" || k.TTL != 60 || k.Topic != "topic" || k.Urgency != "high" || k.Subject != "mailto:push@example.org" || k.Endpoint != sub.Endpoint {
		t.Errorf("arrived %+v", k)
	}
}

// TestRefusals changes one thing of a push that is in order.
func TestRefusals(t *testing.T) {
	s, hc := start(t, webpushsim.Options{OnKick: func(k webpushsim.Kick) {
		if k.Topic != "fine" {
			t.Errorf("accepted %+v", k)
		}
	}})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public := base64.RawURLEncoding.EncodeToString(point)
	vapid := func(change func(jwt.MapClaims)) string {
		claims := jwt.MapClaims{"aud": s.URL(), "exp": time.Now().Add(time.Hour).Unix(), "sub": "mailto:push@example.org"}
		change(claims)
		signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return "vapid t=" + signed + ", k=" + public
	}
	same := func(jwt.MapClaims) {}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"aud": s.URL(), "exp": time.Now().Add(time.Hour).Unix(), "sub": "mailto:a@b"}).
		SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _ := strings.Cut(vapid(same), ".")
	sub, err := s.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	s.Unsubscribe(gone.Endpoint)
	for _, c := range []struct {
		name   string
		want   int
		change func(*http.Request)
		body   []byte
	}{
		{name: "in order", want: 201, change: func(r *http.Request) { r.Header.Set("Topic", "fine") }},
		{name: "GET", want: 405, change: func(r *http.Request) { r.Method = http.MethodGet }},
		{name: "no such subscription", want: 404, change: func(r *http.Request) { r.URL.Path += "x" }},
		{name: "unsubscribed", want: 410, change: func(r *http.Request) { r.URL.Path = strings.TrimPrefix(gone.Endpoint, s.URL()) }},
		{name: "no VAPID", want: 401, change: func(r *http.Request) { r.Header.Del("Authorization") }},
		{name: "another service", want: 401, change: func(r *http.Request) {
			r.Header.Set("Authorization", vapid(func(c jwt.MapClaims) { c["aud"] = "https://push.example.org" }))
		}},
		{name: "over", want: 401, change: func(r *http.Request) {
			r.Header.Set("Authorization", vapid(func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Hour).Unix() }))
		}},
		{name: "no end", want: 401, change: func(r *http.Request) {
			r.Header.Set("Authorization", vapid(func(c jwt.MapClaims) { delete(c, "exp") }))
		}},
		{name: "too long", want: 401, change: func(r *http.Request) {
			r.Header.Set("Authorization", vapid(func(c jwt.MapClaims) { c["exp"] = time.Now().Add(25 * time.Hour).Unix() }))
		}},
		{name: "no subject", want: 401, change: func(r *http.Request) {
			r.Header.Set("Authorization", vapid(func(c jwt.MapClaims) { delete(c, "sub") }))
		}},
		{name: "not signed", want: 401, change: func(r *http.Request) { r.Header.Set("Authorization", "vapid t="+unsigned+", k="+public) }},
		{name: "signature cut off", want: 401, change: func(r *http.Request) { r.Header.Set("Authorization", other+", k="+public) }},
		{name: "another key", want: 401, change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(vapid(same), "k="+public, "k="+sub.Keys.P256DH, 1))
		}},
		{name: "no key", want: 401, change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(vapid(same), "k="+public, "k=AAAA", 1))
		}},
		{name: "no TTL", want: 400, change: func(r *http.Request) { r.Header.Del("TTL") }},
		{name: "a negative TTL", want: 400, change: func(r *http.Request) { r.Header.Set("TTL", "-1") }},
		{name: "no such urgency", want: 400, change: func(r *http.Request) { r.Header.Set("Urgency", "urgent") }},
		{name: "a long topic", want: 400, change: func(r *http.Request) { r.Header.Set("Topic", strings.Repeat("x", 33)) }},
		{name: "not encrypted", want: 415, change: func(*http.Request) {}, body: []byte("hello")},
		{name: "noise", want: 400, change: func(r *http.Request) { r.Header.Set("Content-Encoding", "aes128gcm") }, body: make([]byte, 200)},
		{name: "too large", want: 413, change: func(r *http.Request) { r.Header.Set("Content-Encoding", "aes128gcm") }, body: make([]byte, 5000)},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sub.Endpoint, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", vapid(same))
		req.Header.Set("TTL", "60")
		c.change(req)
		res, err := hc.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s: answered %s, want %d", c.name, res.Status, c.want)
		}
	}
}
