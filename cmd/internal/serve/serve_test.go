package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// fakeStore is a store whose Run ends when a test says so.
type fakeStore struct {
	*mem.Store
	fail   chan error
	err    atomic.Pointer[error] // what Err says
	closed atomic.Bool
}

func newFakeStore() *fakeStore {
	return &fakeStore{Store: mem.New(mem.Options{}), fail: make(chan error, 1)}
}

func (s *fakeStore) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.fail:
		return err
	}
}

func (s *fakeStore) Err() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *fakeStore) Close() error {
	s.closed.Store(true)
	return nil
}

// newNode makes a node over a fake store, with its core and sessions.
func newNode(t *testing.T) (*Node, *fakeStore, Parts) {
	t.Helper()
	store := newFakeStore()
	cfg := configs.DefaultServer().Node
	cfg.Drain = 100 * time.Millisecond
	n := &Node{role: configs.RoleServer, cfg: cfg, Store: store, Metrics: newRegistry(), Log: slog.New(slog.DiscardHandler), Out: io.Discard}
	var err error
	for _, l := range []*net.Listener{&n.door, &n.private} {
		if *l, err = listen(t.Context(), "127.0.0.1:0", "listen"); err != nil {
			t.Fatal(err)
		}
	}
	n.Addrs = Addrs{URL: urlOf(n.door, cfg.TLS), Admin: urlOf(n.private, configs.TLS{})}
	core, err := n.Core(nil)
	if err != nil {
		t.Fatal(err)
	}
	return n, store, Parts{Core: core, Sessions: n.Sessions(core, nobody{}, nil)}
}

// nobody is a registrar that makes no endpoints.
type nobody struct{}

func (nobody) Register(context.Context, edition.Registration) (string, error) {
	return "", edition.ErrUnavailable
}
func (nobody) Unregister(context.Context, edition.Key) error { return nil }
func (nobody) Claim(context.Context, []edition.Credential, edition.Owner) ([]edition.UAID, error) {
	return nil, nil
}
func (nobody) Present([]edition.Agent) {}

// serving runs Serve and returns its end.
func serving(t *testing.T, n *Node, p Parts) (stop context.CancelFunc, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, end, gone := make(chan Addrs, 1), make(chan error, 1), make(chan struct{})
	n.ready = func(a Addrs) { ready <- a }
	go func() {
		defer close(gone)
		end <- n.Serve(ctx, p)
	}()
	<-ready
	t.Cleanup(func() {
		cancel()
		<-gone
	})
	return cancel, end
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // no idle connection holds the server up
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// wantClosed does not dial: somebody else may have been given the port.
func wantClosed(t *testing.T, l net.Listener) {
	t.Helper()
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the door at %v is still open (%v)", l.Addr(), err)
	}
}

func TestStopIsClean(t *testing.T) {
	defer leak.None(t)
	n, store, p := newNode(t)
	worked := make(chan struct{})
	p.Run = append(p.Run, func(ctx context.Context) error {
		<-ctx.Done()
		if store.closed.Load() {
			t.Error("the store was closed before its writers ended")
		}
		close(worked)
		return nil
	})
	stop, ended := serving(t, n, p)
	if code, body := fetch(t, n.Admin+"/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, body := fetch(t, n.URL+"/"); code != http.StatusOK || !strings.Contains(body, "edition server") {
		t.Errorf("welcome: %d %q", code, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("a stop is no failure: %v", err)
	}
	<-worked
	if !store.closed.Load() {
		t.Error("the store is open")
	}
	wantClosed(t, n.door)
	wantClosed(t, n.private)
}

func TestFailedDiskEndsTheProcess(t *testing.T) {
	defer leak.None(t)
	n, store, p := newNode(t)
	_, ended := serving(t, n, p)
	store.fail <- fmt.Errorf("%w: fdatasync: input/output error", edition.ErrDisk)
	if err := <-ended; !errors.Is(err, edition.ErrDisk) {
		t.Errorf("got %v", err)
	}
	if !store.closed.Load() {
		t.Error("the store is open")
	}
}

func TestFailedPartEndsTheProcess(t *testing.T) {
	defer leak.None(t)
	n, store, p := newNode(t)
	broken := errors.New("broken")
	p.Run = append(p.Run, func(context.Context) error { return broken })
	_, ended := serving(t, n, p)
	if err := <-ended; !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if !store.closed.Load() {
		t.Error("the store is open")
	}
}

func TestReadiness(t *testing.T) {
	n, store, p := newNode(t)
	p.Upstreams = func() any { return []string{"away"} }
	_, _ = serving(t, n, p)
	ask := func() (code int, r readiness) {
		code, body := fetch(t, n.Admin+"/readyz")
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatal(err)
		}
		return code, r
	}
	if code, r := ask(); code != http.StatusOK || r.Status != "ready" || r.Store != "ok" || fmt.Sprint(r.Upstreams) != "[away]" {
		t.Errorf("ready: %d %+v", code, r)
	}
	full := error(fmt.Errorf("%w: the disk is full", edition.ErrUnavailable))
	store.err.Store(&full)
	if code, r := ask(); code != http.StatusServiceUnavailable || r.Status != "unready" || !strings.Contains(r.Store, "disk is full") {
		t.Errorf("disk full: %d %+v", code, r)
	}
	store.err.Store(nil)
	n.draining.Store(true)
	if code, r := ask(); code != http.StatusServiceUnavailable || !r.Draining {
		t.Errorf("draining: %d %+v", code, r)
	}
}

func TestDoor(t *testing.T) {
	name := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
	}
	server := Door{Role: configs.RoleServer, Apps: name("apps"), Devices: name("devices")}
	relay := Door{Role: configs.RoleRelay, Devices: name("devices")}
	for _, c := range []struct {
		door         Door
		method, path string
		code         int
		want         string
	}{
		{server, "PUT", wire.PathEndpoint + "abc", 200, "apps"},
		{server, "POST", wire.PathEvents, 200, "apps"},
		{server, "GET", wire.PathWebSocket, 200, "devices"},
		{server, "POST", wire.PathUpdate, 200, "devices"},
		{server, "GET", "/elsewhere", 200, "devices"},
		{server, "GET", "/", 200, "edition server"},
		{server, "POST", "/", 405, "method not allowed"},
		{relay, "PUT", wire.PathEndpoint + "abc", 404, "this is a relay"},
		{relay, "POST", wire.PathEvents, 404, "this is a relay"},
		{relay, "GET", "/", 200, "edition relay"},
		{relay, "GET", wire.PathWebSocket, 200, "devices"},
	} {
		w := httptest.NewRecorder()
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.door.ServeHTTP(w, r)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %s: %d %s", c.door.Role, c.method, c.path, w.Code, w.Body)
		}
	}
}

func TestURLOf(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:0": "http://127.0.0.1:",
		"0.0.0.0:0":   "http://127.0.0.1:",
		":0":          "http://127.0.0.1:",
	} {
		l, err := listen(t.Context(), addr, "listen")
		if err != nil {
			t.Fatal(err)
		}
		if got := urlOf(l, configs.TLS{}); !strings.HasPrefix(got, want) || strings.HasSuffix(got, ":0") {
			t.Errorf("%s: %s", addr, got)
		}
		if got := urlOf(l, configs.TLS{CertFile: "x"}); !strings.HasPrefix(got, "https://") {
			t.Errorf("%s with a certificate: %s", addr, got)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLogFormats(t *testing.T) {
	var b strings.Builder
	log := NewLog(&b, configs.Log{Level: "warn", Format: "json"}, new(slog.LevelVar))
	log.Info("quiet")
	log.Warn("loud", "token", configs.Secret("hunter2"))
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"msg":"loud"`) || strings.Contains(got, "hunter2") {
		t.Errorf("got %s", got)
	}
}

// TestWelcome names every way in.
func TestWelcome(t *testing.T) {
	for role, apps := range map[string]http.Handler{configs.RoleServer: http.NotFoundHandler(), configs.RoleRelay: nil} {
		w := httptest.NewRecorder()
		Door{Role: role, Devices: http.NotFoundHandler(), Apps: apps}.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		text := w.Body.String()
		for _, want := range []string{"edition " + role, wire.PathWebSocket, wire.Subprotocol, wire.PathUpdate, "GET " + wire.PathEvents, "SimplePush devices:  WebSocket at /,"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", role, want, text)
			}
		}
		if relay := strings.Contains(text, "this is a relay"); relay != (apps == nil) {
			t.Errorf("%s says\n%s", role, text)
		}
		if lines := strings.Count(text, "\n"); lines > 10 || strings.Contains(text, "%!") {
			t.Errorf("%s: %d lines\n%s", role, lines, text)
		}
	}
}
