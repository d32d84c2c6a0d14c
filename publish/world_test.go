package publish

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/store/mem"
)

// world is a Publisher over a hub and a store, with one app registered.
type world struct {
	*Publisher
	tb       testing.TB
	store    *mem.Store
	hub      *hub.Hub
	keys     *Keyring
	app      edition.Key
	endpoint string // its path
}

func newWorld(tb testing.TB, limits Limits) *world {
	tb.Helper()
	store := mem.New(mem.Options{DeviceMessages: 3})
	h := hub.New(hub.Options{Store: store})
	w := &world{tb: tb, store: store, hub: h, keys: ring(tb, 1), app: newKey()}
	w.Publisher = New(Options{
		Keys: w.keys, PublicURL: publicURL, Store: store, Deliver: h.Deliver, Withdraw: h.Withdraw, Connected: h.Connected, Watch: h.Watch, Limits: limits,
	})
	w.endpoint = w.register(edition.Registration{Key: w.app})
	return w
}

// register returns the path of an endpoint.
func (w *world) register(r edition.Registration) string {
	w.tb.Helper()
	endpoint, err := NewRegistrar(w.keys, publicURL, w.store).Register(w.tb.Context(), r)
	if err != nil {
		w.tb.Fatal(err)
	}
	return strings.TrimPrefix(endpoint, publicURL)
}

// do does one request; headers are name, value, name, value …
func (w *world) do(method, target, body string, headers ...string) *http.Response {
	r := httptest.NewRequestWithContext(w.tb.Context(), method, strings.TrimPrefix(target, publicURL), strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec.Result()
}

func (w *world) post(body string, headers ...string) *http.Response {
	return w.do(http.MethodPost, w.endpoint, body, append([]string{"TTL", "60"}, headers...)...)
}

// want checks a status and returns the answer.
func (w *world) want(resp *http.Response, status int) *http.Response {
	w.tb.Helper()
	if resp.StatusCode != status {
		_, body := statusAndBody(resp)
		w.tb.Fatalf("%d %s, want %d", resp.StatusCode, body, status)
	}
	return resp
}

// waiting returns what waits for the app's device, in order.
func (w *world) waiting() (edition.Update, []*edition.Body) {
	w.tb.Helper()
	agent, err := w.store.Agent(w.app.UAID)
	if err != nil {
		w.tb.Fatal(err)
	}
	u, err := w.store.Pending(nil, agent.Owner, w.app.UAID)
	if err != nil {
		w.tb.Fatal(err)
	}
	bodies, err := w.store.Bodies(u)
	if err != nil {
		w.tb.Fatal(err)
	}
	return u, bodies
}

// data returns the bodies that wait, in order, as text.
func (w *world) data() string {
	w.tb.Helper()
	var all []string
	_, bodies := w.waiting()
	for _, b := range bodies {
		if b != nil {
			all = append(all, string(b.Data))
		}
	}
	return strings.Join(all, " ")
}

// take has the device take everything.
func (w *world) take() {
	w.tb.Helper()
	u, _ := w.waiting()
	if err := w.store.Sent(edition.Direct, u); err != nil {
		w.tb.Fatal(err)
	}
	if err := w.hub.Ack(edition.Direct, u, edition.AckDelivered); err != nil {
		w.tb.Fatal(err)
	}
}

// silent is a connection that is there.
type silent struct{ _ byte }

func (*silent) Ring(edition.UAID)   {}
func (*silent) Lost(edition.Holder) {}

// appServer is an application server with a VAPID key.
type appServer struct {
	key    *ecdsa.PrivateKey
	point  []byte
	public string
}

func newAppServer(tb testing.TB) *appServer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return &appServer{key: key, point: point, public: base64.RawURLEncoding.EncodeToString(point)}
}

// token signs claims for the world's origin, with some of them changed.
func (a *appServer) token(tb testing.TB, change ...any) string {
	tb.Helper()
	claims := jwt.MapClaims{"aud": publicURL, "exp": time.Now().Add(12 * time.Hour).Unix(), "sub": "mailto:a@b.example"}
	for i := 0; i < len(change); i += 2 {
		if claims[change[i].(string)] = change[i+1]; change[i+1] == nil {
			delete(claims, change[i].(string))
		}
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func (a *appServer) authorization(tb testing.TB, change ...any) string {
	return "vapid t=" + a.token(tb, change...) + ", k=" + a.public
}

// subscription is the app's side of RFC 8291.
type subscription struct {
	key  *ecdh.PrivateKey
	auth []byte
}

func newSubscription(tb testing.TB) *subscription {
	tb.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	s := &subscription{key: key, auth: make([]byte, 16)}
	rand.Read(s.auth)
	return s
}
