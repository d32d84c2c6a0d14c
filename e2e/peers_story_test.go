package e2e

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestPeersSimplePush has a client in another language as the device: at the
// server, behind a relay, and behind a relay of a relay.
func TestPeersSimplePush(t *testing.T) {
	for hops := range 3 {
		t.Run(fmt.Sprintf("hops=%d", hops), func(t *testing.T) {
			t.Parallel()
			_, last := chain(t, hops, "")
			runNode(t, "simplepush.js", nil, obj{"url": strings.Replace(last.url, "http", "ws", 1) + "/"})
		})
	}
}

// TestPeersWebPush has the libraries of others as app servers of a device that
// knows nothing of messages: it is told that there is something.
func TestPeersWebPush(t *testing.T) {
	a := newAuthority(t)
	_, last := secureChain(t, a, 1)
	client := a.client()
	for name, send := range map[string]func(*testing.T, *authority, parcel) sent{"web-push": sendByNode, "webpush-go": sendByGo} {
		t.Run(name, func(t *testing.T) {
			d := newDevice().register(t, last)
			w := d.hello(t, last)
			p := parcel{to: newSubscription(t, d.endpoint), by: newKeyPair(t), payload: "hello"}

			s := send(t, a, p)
			s.expect(t, http.StatusCreated)
			if s.Headers["ttl"] != "600" || !strings.HasPrefix(s.Headers["location"], "https://") {
				t.Errorf("answered with TTL %q and Location %q", s.Headers["ttl"], s.Headers["location"])
			}
			u := w.expect(t, "update").Updates
			version, ok := u[d.uaid][d.appid]
			if !ok || len(u) != 1 {
				t.Fatalf("told of %v", u)
			}
			w.ack(t, d, version)
			w.conn.Close()

			// A message that its sender takes back is gone.
			p.topic, p.urgency = "news", "low"
			s = send(t, a, p)
			s.expect(t, http.StatusCreated)
			for _, want := range []int{http.StatusNoContent, http.StatusGone} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, s.Headers["location"], nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("DELETE answered %s, want %d", resp.Status, want)
				}
			}

			p.to.Endpoint = strings.TrimSuffix(p.to.Endpoint, p.to.Endpoint[len(p.to.Endpoint)-4:]) + "AAAA"
			send(t, a, p).expect(t, http.StatusNotFound)
		})
	}
}

// newSubscription makes the keys of an app, as a browser does.
func newSubscription(t *testing.T, endpoint string) (s subscription) {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var auth [16]byte
	rand.Read(auth[:])
	s.Endpoint = endpoint
	s.Keys.P256dh = base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes())
	s.Keys.Auth = base64.RawURLEncoding.EncodeToString(auth[:])
	return s
}
