package publish

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestVAPID(t *testing.T) {
	w, a := newWorld(t, Limits{}), newAppServer(t)
	owned := w.register(edition.Registration{Key: newKey(), AppKey: a.point})
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, headers := range map[string][]string{
		"as now":             {"Authorization", a.authorization(t)},
		"no blanks":          {"Authorization", "vapid t=" + a.token(t) + ",k=" + a.public},
		"any case and order": {"Authorization", "Vapid  K=" + a.public + ",  T=" + a.token(t)},
		"quoted":             {"Authorization", `vapid t="` + a.token(t) + `", k="` + a.public + `"`},
		"padded":             {"Authorization", "vapid t=" + a.token(t) + ", k=" + a.public + "="},
		"more":               {"Authorization", a.authorization(t) + ", x=y"},
		"as before":          {"Authorization", "WebPush " + a.token(t), "Crypto-Key", "p256ecdsa=" + a.public},
		"beside dh":          {"Authorization", "WebPush " + a.token(t), "Crypto-Key", "keyid=p256dh;dh=abc;p256ecdsa=" + a.public},
		"in a list":          {"Authorization", "WebPush " + a.token(t), "Crypto-Key", "dh=abc, p256ecdsa=" + a.public},
		"in a second field":  {"Authorization", "WebPush " + a.token(t), "Crypto-Key", "dh=abc", "Crypto-Key", "p256ecdsa=" + a.public},
		"one of audiences":   {"Authorization", a.authorization(t, "aud", []string{"https://x.example", publicURL})},
		"a port":             {"Authorization", a.authorization(t, "aud", "HTTPS://Push.Example:443")},
		"a path":             {"Authorization", a.authorization(t, "aud", publicURL+"/")},
		"a day":              {"Authorization", a.authorization(t, "exp", in(24*time.Hour))},
		"nobody":             {"Authorization", a.authorization(t, "sub", nil)},
	} {
		resp := w.do(http.MethodPost, owned, "", append(headers, "TTL", "0")...)
		if resp.StatusCode != 201 {
			_, body := statusAndBody(resp)
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}

// TestForgedVAPID: nothing that is not signed as RFC 8292 says sends anything,
// whether the endpoint asks for it or not.
func TestForgedVAPID(t *testing.T) {
	w, a, b := newWorld(t, Limits{}), newAppServer(t), newAppServer(t)
	owned := w.register(edition.Registration{Key: newKey(), AppKey: a.point})
	good := a.token(t)
	parts := strings.Split(good, ".")
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	hs := func(secret []byte) string {
		text := b64(`{"alg":"HS256","typ":"JWT"}`) + "." + parts[1]
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	for name, header := range map[string]string{
		"alg none":            "vapid t=" + b64(`{"alg":"none"}`) + "." + parts[1] + "., k=" + a.public,
		"alg None":            "vapid t=" + b64(`{"alg":"None"}`) + "." + parts[1] + "., k=" + a.public,
		"HS256 by the key":    "vapid t=" + hs(a.point) + ", k=" + a.public,
		"HS256 by its text":   "vapid t=" + hs([]byte(a.public)) + ", k=" + a.public,
		"ES384":               "vapid t=" + b64(`{"alg":"ES384"}`) + "." + parts[1] + "." + parts[2] + ", k=" + a.public,
		"no algorithm":        "vapid t=" + b64(`{}`) + "." + parts[1] + "." + parts[2] + ", k=" + a.public,
		"no signature":        "vapid t=" + parts[0] + "." + parts[1] + "., k=" + a.public,
		"zero signature":      "vapid t=" + parts[0] + "." + parts[1] + "." + b64(strings.Repeat("\x00", 64)) + ", k=" + a.public,
		"other signature":     "vapid t=" + parts[0] + "." + parts[1] + "." + strings.Split(b.token(t), ".")[2] + ", k=" + a.public,
		"two parts":           "vapid t=" + parts[0] + "." + parts[1] + ", k=" + a.public,
		"four parts":          "vapid t=" + good + ".x, k=" + a.public,
		"key not its own":     "vapid t=" + good + ", k=" + b.public,
		"no token":            "vapid k=" + a.public,
		"empty token":         "vapid t=, k=" + a.public,
		"no key":              "vapid t=" + good,
		"no key, as before":   "WebPush " + good,
		"key off the curve":   "vapid t=" + good + ", k=" + b64("\x04"+strings.Repeat("\x01", 64)),
		"key at infinity":     "vapid t=" + good + ", k=" + b64("\x00"),
		"compressed key":      "vapid t=" + good + ", k=" + b64("\x02"+string(a.point[1:33])),
		"key not base64":      "vapid t=" + good + ", k=!!!",
		"no end":              a.authorization(t, "exp", nil),
		"ended":               a.authorization(t, "exp", in(-2*time.Minute)),
		"ends too late":       a.authorization(t, "exp", in(25*time.Hour)),
		"ends never":          a.authorization(t, "exp", 1e18),
		"ends in words":       a.authorization(t, "exp", "tomorrow"),
		"not yet":             a.authorization(t, "nbf", in(time.Hour)),
		"for nobody":          a.authorization(t, "aud", nil),
		"for another":         a.authorization(t, "aud", "https://other.example"),
		"for another port":    a.authorization(t, "aud", publicURL+":8443"),
		"for another scheme":  a.authorization(t, "aud", "http://push.example"),
		"for a prefix":        a.authorization(t, "aud", publicURL+".evil.example"),
		"for a user":          a.authorization(t, "aud", "https://push.example@evil.example"),
		"for a number":        a.authorization(t, "aud", 5),
		"huge":                "vapid t=" + good + strings.Repeat("A", 3000) + ", k=" + a.public,
		"nothing":             "vapid",
		"quote without end":   `vapid t="` + good + ", k=" + a.public,
		"deep":                "vapid t=" + b64(strings.Repeat("[", 900)) + "." + parts[1] + "." + parts[2] + ", k=" + a.public,
		"claims of no object": "vapid t=" + parts[0] + "." + b64("[]") + "." + parts[2] + ", k=" + a.public,
	} {
		for _, endpoint := range []string{owned, w.endpoint} {
			resp := w.do(http.MethodPost, endpoint, "", "TTL", "60", "Authorization", header)
			if status, body := statusAndBody(resp); status != 403 {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
	}
	for name, headers := range map[string][]string{
		"none": {}, "another scheme": {"Authorization", "Basic abc"}, "empty": {"Authorization", ""},
	} {
		resp := w.do(http.MethodPost, owned, "", append(headers, "TTL", "60")...)
		if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != "vapid" {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
		resp = w.do(http.MethodPost, w.endpoint, "", append(headers, "TTL", "60")...)
		if resp.StatusCode != 201 {
			t.Errorf("%s, to an endpoint for everybody: %d", name, resp.StatusCode)
		}
	}
	w.want(w.do(http.MethodPost, owned, "", "TTL", "60", "Authorization", b.authorization(t)), 403)
	twice := a.authorization(t)
	w.want(w.do(http.MethodPost, owned, "", "TTL", "60", "Authorization", twice, "Authorization", twice), 403)
	if u, _ := w.waiting(); len(u) != 3 {
		t.Errorf("%v wait", u)
	}
}

// TestOwnedEndpoint: every door of an endpoint that belongs to one application
// server is that server's alone.
func TestOwnedEndpoint(t *testing.T) {
	w, a, b := newWorld(t, Limits{}), newAppServer(t), newAppServer(t)
	w.app = newKey()
	owned := w.register(edition.Registration{Key: w.app, AppKey: a.point})
	if again := w.register(edition.Registration{Key: w.app, AppKey: a.point}); again != owned {
		t.Error("the same registration has another endpoint")
	}
	if other := w.register(edition.Registration{Key: w.app, AppKey: b.point}); other == owned {
		t.Error("another key has the same endpoint")
	}
	const full = `"state":`
	for _, c := range []struct {
		header string
		status int
	}{{"", 401}, {b.authorization(t), 403}, {"vapid t=x, k=y", 403}, {a.authorization(t), 202}} {
		w.want(w.do(http.MethodPut, owned, "version=5", "Authorization", c.header), c.status)
		resp := w.want(w.do(http.MethodGet, owned, "", "Authorization", c.header), 200)
		if _, body := statusAndBody(resp); strings.Contains(body, full) != (c.status == 202) || !strings.Contains(body, `{"unifiedpush":{"version":1}}`) && c.status != 202 {
			t.Errorf("%d: GET shows %s", c.status, body)
		}
		line := `{"endpoint":"` + publicURL + owned + `","version":7}`
		resp = w.do(http.MethodPost, "/v1/events", line, "Authorization", c.header)
		_, body := statusAndBody(resp)
		if want := map[int]string{401: `"status":401`, 403: `"status":403`, 202: `"status":202`}[c.status]; !strings.Contains(body, want) {
			t.Errorf("%d: a line is answered %s", c.status, body)
		}
	}
}

// TestVerifiedIsForgotten: what was verified once is good until it ends, and
// the memory for it is bounded.
func TestVerifiedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, a := newVerifier(publicURL), newAppServer(t)
		c := credentials{a.token(t, "exp", time.Now().Add(time.Hour).Unix()), a.public}
		for range 2 {
			if who, err := v.verify(c); err != nil || who != keyHash(a.point) {
				t.Fatalf("%v, %v", who, err)
			}
		}
		time.Sleep(time.Hour + 2*clockSkew)
		if _, err := v.verify(c); !errors.Is(err, edition.ErrForbidden) {
			t.Errorf("after its end: %v", err)
		}
		s := &v.shards[0]
		for i := range vapidPerShard + 1 {
			if len(s.known) >= vapidPerShard {
				s.makeRoom(time.Now())
			}
			s.known[sha256.Sum256([]byte{byte(i), byte(i >> 8)})] = verified{ends: time.Now().Add(time.Hour)}
		}
		if n := len(s.known); n > vapidPerShard || n < vapidPerShard/2 {
			t.Errorf("%d are known", n)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	a := newAppServer(b)
	c := credentials{a.token(b), a.public}
	b.Run("first", func(b *testing.B) {
		v := newVerifier(publicURL)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.check(c, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		v := newVerifier(publicURL)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.verify(c); err != nil {
				b.Fatal(err)
			}
		}
	})
}
