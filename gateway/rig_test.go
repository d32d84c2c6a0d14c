package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

const (
	tokenHQ    = "token-of-the-headquarters"
	tokenOther = "token-of-somebody-else"
)

// fakeKicks takes every kick and notes it. Drivers whose name begins with
// "strict" demand codes.
type fakeKicks struct {
	mu    sync.Mutex
	wakes []kickdrivers.Wake
	froms []netip.Addr
	err   error // of Wake
}

func (f *fakeKicks) Check(kick json.RawMessage, from netip.Addr, _ int) (edition.Routes, error) {
	var list []json.RawMessage
	if json.Unmarshal(kick, &list) != nil {
		list = []json.RawMessage{kick}
	}
	var routes edition.Routes
	for _, one := range list {
		var head struct{ Driver, Panic string }
		if err := json.Unmarshal(one, &head); err != nil {
			return nil, fmt.Errorf("%w: kick", edition.ErrMalformed)
		}
		if head.Panic != "" {
			panic(head.Panic)
		}
		r := edition.Route{Driver: head.Driver, Target: one}
		if strings.HasPrefix(head.Driver, "strict") {
			r.Confirm = "AAAA1111"
		}
		routes = append(routes, r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.froms = append(f.froms, from)
	return routes, nil
}

func (f *fakeKicks) Wake(w kickdrivers.Wake) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.wakes = append(f.wakes, w)
	return nil
}

func (f *fakeKicks) last(t *testing.T) kickdrivers.Wake {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wakes) == 0 {
		t.Fatal("nothing was to be sent")
	}
	return f.wakes[len(f.wakes)-1]
}

func (f *fakeKicks) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.wakes)
}

var (
	device = edition.UAID{6: 0x40, 8: 0x80, 15: 1}
	nobody = edition.UAID{6: 0x40, 8: 0x80, 15: 2}
)

// options are those of a gateway with two callers; device has two routes.
func options(k gateway.Kicks) gateway.Options {
	return gateway.Options{
		Kicks: k,
		Routes: func(h edition.Holder) (edition.Routes, error) {
			if h.UAID != device {
				return nil, nil
			}
			return edition.Routes{
				{Driver: "udp", Target: json.RawMessage(`{"ip":"10.1.2.3","port":4000}`)},
				{Driver: "fcm", Target: json.RawMessage(`{"token":"abc"}`)},
				{Driver: "sms", Target: json.RawMessage(`{"msisdn":"+34"}`), Confirm: "CODE5678"},
				{Driver: "old"},
			}, nil
		},
		Callers: []gateway.Caller{
			{Name: "hq", Tokens: []string{tokenHQ}, Rights: gateway.Rights{Drivers: []string{"udp", "fcm", "strict"}}},
			{Name: "other", Tokens: []string{tokenOther}, Rights: gateway.Rights{
				Drivers: []string{"udp", "gw", "strict"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}, Confirmed: true,
			}},
		},
	}
}

// call makes one request.
func call(g http.Handler, method, path, token, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func ask(t *testing.T, g http.Handler, token, body string) wire.WakeState {
	t.Helper()
	w := call(g, "POST", wire.PathKicks, token, body)
	var s wire.WakeState
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusAccepted {
		t.Fatalf("%s: %d %s", body, w.Code, w.Body)
	}
	if want := wire.PathKicks + "/" + s.ID; w.Header().Get("Location") != want || s.State != "waiting" || len(s.ID) != 32 {
		t.Errorf("got %+v, Location %q", s, w.Header().Get("Location"))
	}
	return s
}

func outcome(t *testing.T, g http.Handler, token, id string) wire.WakeState {
	t.Helper()
	w := call(g, "GET", wire.PathKicks+"/"+id, token, "")
	var s wire.WakeState
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return s
}

// expect wants a problem document with a status.
func expect(t *testing.T, what string, w *httptest.ResponseRecorder, status int, detail string) {
	t.Helper()
	var p wire.Problem
	body, err := io.ReadAll(w.Body)
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err != nil || w.Code != status || p.Status != status || !strings.Contains(p.Detail, detail) {
		t.Errorf("%s: %d %s, want %d … %s", what, w.Code, body, status, detail)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%s: answered as %q", what, ct)
	}
	if (status == 429 || status == 503) && w.Header().Get("Retry-After") == "" {
		t.Errorf("%s: %d does not say when to come back", what, status)
	}
}

// caller speaks to a gateway over a socket.
type caller struct {
	t   *testing.T
	url string
}

func (c *caller) call(method, path, body string) (int, []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+tokenHQ)
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, text
}

// post asks for a kick and returns its id.
func (c *caller) post(body string) string {
	c.t.Helper()
	status, text := c.call("POST", wire.PathKicks, body)
	var s wire.WakeState
	if err := json.Unmarshal(text, &s); err != nil || status != http.StatusAccepted {
		c.t.Fatalf("%s: %d %s", body, status, text)
	}
	return s.ID
}

// await asks for an outcome until it is as wanted.
func (c *caller) await(id string, want func(wire.WakeState) bool) wire.WakeState {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		status, text := c.call("GET", wire.PathKicks+"/"+id, "")
		var s wire.WakeState
		if err := json.Unmarshal(text, &s); err != nil || status != http.StatusOK {
			c.t.Fatalf("%d %s", status, text)
		}
		if want(s) {
			return s
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("it stays %+v", s)
		}
	}
}
