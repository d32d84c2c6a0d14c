package webhooksim_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/webhook/webhooksim"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestRefusals changes one thing of a request that is in order.
func TestRefusals(t *testing.T) {
	var taken atomic.Int32
	s, err := webhooksim.Start(webhooksim.Options{OnKick: func(webhooksim.Kick) { taken.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	hook, err := standardwebhooks.NewWebhook(s.Secret())
	if err != nil {
		t.Fatal(err)
	}
	hc := &http.Client{}
	defer hc.CloseIdleConnections()
	const one, two = `{"target":{"id":"lamp"}}`, `{"target":{"id":"lamp","data":{"room":1}},"confirm":"AB12CD34"}`
	body := func(kind, data string) string {
		return fmt.Sprintf(`{"type":%q,"timestamp":"2026-01-02T03:04:05.6Z","data":%s}`, kind, data)
	}
	same := func(*http.Request) {}
	for _, c := range []struct {
		name   string
		body   string
		change func(*http.Request)
		want   int
	}{
		{"one kick", body("kick", one), same, 204},
		{"several", body("kicks", "["+one+","+two+"]"), same, 200},
		{"no kick", body("kicks", "[]"), same, 400},
		{"no target", body("kick", "{}"), same, 400},
		{"no id", body("kick", `{"target":{}}`), same, 400},
		{"something else", body("lamp", one), same, 400},
		{"more than there should be", body("kick", `{"target":{"id":"lamp"},"secret":1}`), same, 400},
		{"no time", strings.Replace(body("kick", one), "2026-01-02T03:04:05.6Z", "today", 1), same, 400},
		{"no JSON", "kick", same, 400},
		{"another content type", body("kick", one), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400},
		{"another body", body("kick", one), func(r *http.Request) { r.Header.Set("webhook-id", "msg_2") }, 401},
		{"no signature", body("kick", one), func(r *http.Request) { r.Header.Del("webhook-signature") }, 401},
		{"an old one", body("kick", one), func(r *http.Request) {
			old := time.Now().Add(-time.Hour)
			sign(t, hook, r, old, body("kick", one))
		}, 401},
		{"GET", body("kick", one), func(r *http.Request) { r.Method = http.MethodGet }, 405},
		{"another path", body("kick", one), func(r *http.Request) { r.URL.Path = "/x" }, 404},
		{"too large", body("kick", strings.Repeat(" ", 1<<20)+one), same, 413},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		sign(t, hook, req, time.Now(), c.body)
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
	if taken.Load() != 3 {
		t.Errorf("%d kicks were taken, want 3", taken.Load())
	}
}

func sign(t *testing.T, hook *standardwebhooks.Webhook, r *http.Request, at time.Time, body string) {
	t.Helper()
	signature, err := hook.Sign("msg_1", at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("webhook-id", "msg_1")
	r.Header.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
	r.Header.Set("webhook-signature", signature)
}
