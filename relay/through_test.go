package relay_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/client"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/publish"
	"github.com/edition-push/edition/relay"
	"github.com/edition-push/edition/session"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// node is a server or a relay in this process, over a store in memory.
type node struct {
	url   string
	store *mem.Store
}

// serve runs the parts that both roles share behind a loopback listener.
func serve(t *testing.T, h *hub.Hub, store *mem.Store, registrar edition.Registrar, app http.Handler, relays []session.Relay, l *httptest.Server, more ...func(context.Context) error) *node {
	t.Helper()
	s := session.New(session.Options{Hub: h, Store: store, Registrar: registrar, Relays: relays})
	l.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, path := range []string{wire.PathEndpoint, wire.PathMessage, wire.PathReceipt} {
			if app != nil && strings.HasPrefix(r.URL.Path, path) {
				app.ServeHTTP(w, r)
				return
			}
		}
		s.ServeHTTP(w, r)
	})
	l.Start()
	ctx, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	for _, run := range append(more, s.Run, h.Run) {
		runs.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		short, done := context.WithTimeout(context.Background(), 50*time.Millisecond)
		s.Drain(short)
		done()
		cancel()
		runs.Wait()
		l.CloseClientConnections()
		l.Close()
	})
	return &node{url: "http://" + l.Listener.Addr().String(), store: store}
}

func newServer(t *testing.T, relays ...session.Relay) *node {
	t.Helper()
	l := httptest.NewUnstartedServer(nil)
	url := "http://" + l.Listener.Addr().String()
	store := mem.New(mem.Options{})
	keys, err := publish.LoadKeyring(filepath.Join(t.TempDir(), "keys.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Options{Store: store})
	app := publish.New(publish.Options{Keys: keys, PublicURL: url, Store: store, Deliver: h.Deliver, Withdraw: h.Withdraw, Connected: h.Connected, Watch: h.Watch})
	return serve(t, h, store, publish.NewRegistrar(keys, url, store), app, relays, l)
}

func newRelay(t *testing.T, up relay.Upstream, relays ...session.Relay) *node {
	t.Helper()
	store := mem.New(mem.Options{})
	var r *relay.Relay
	h := hub.New(hub.Options{Store: store, Delivered: func() { r.Delivered() }})
	var err error
	up.RetryMax = 20 * time.Millisecond
	if r, err = relay.New(relay.Options{Name: "north", Upstreams: []relay.Upstream{up}, Store: store, Deliver: h.Deliver}); err != nil {
		t.Fatal(err)
	}
	n := serve(t, h, store, r, nil, relays, httptest.NewUnstartedServer(nil), r.Run)
	for end := time.Now().Add(patience); !r.Upstreams()[0].Connected; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the relay did not connect: %+v", r.Upstreams())
		}
	}
	return n
}

var northern = session.Relay{Name: "north", Tokens: []string{"sesame"}}

// put sends a version and returns the status.
func put(t *testing.T, endpoint string, v edition.Version) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, endpoint, strings.NewReader("version="+v.String()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func state(t *testing.T, endpoint string) string {
	t.Helper()
	resp, err := http.Get(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// listen runs a device with one app until the end of the test.
func listen(t *testing.T, cfg client.DeviceConfig) (endpoint string, versions <-chan edition.Version, stop func()) {
	t.Helper()
	got, endpoints := make(chan edition.Version, 100), make(chan string, 10)
	d, err := client.OpenDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Register(client.App{
		Name: "app", OnVersion: func(v edition.Version) { got <- v }, OnEndpoint: func(e string) { endpoints <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("device: %v", err)
		}
	})
	t.Cleanup(stop)
	return await(t, endpoints, "an endpoint"), got, stop
}

// patience bounds what hangs. Nothing else is to depend on it.
const patience = 2 * time.Minute

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestThrough is the story with a relay in between: register through it, PUT,
// UPDATE, ACK, and GET says what became of it; while the device is there and
// while it is away, over every way to upstream, in both custody modes.
func TestThrough(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections) // after the parallel ones
	for _, custody := range []string{wire.CustodyDevice, wire.CustodyRelay} {
		for _, way := range []relay.Upstream{
			{Mode: client.ModeWebSocket},
			{Mode: client.ModePoll, Wait: 20 * time.Second},
			{Mode: client.ModePoll, Interval: 20 * time.Millisecond},
		} {
			t.Run(fmt.Sprintf("%s %s %v", custody, way.Mode, way.Wait), func(t *testing.T) {
				t.Parallel()
				server := newServer(t, northern)
				way.Name, way.URL, way.Token, way.Custody = "up", server.url, "sesame", custody
				near := newRelay(t, way)
				cfg := client.DeviceConfig{State: filepath.Join(t.TempDir(), "state"), Config: client.Config{URL: near.url}}
				endpoint, versions, stop := listen(t, cfg)
				if !strings.HasPrefix(endpoint, server.url+wire.PathEndpoint) {
					t.Errorf("endpoint %s", endpoint)
				}
				if s := state(t, endpoint); !strings.Contains(s, `"state":"none"`) {
					t.Errorf("before: %s", s)
				}
				if status := put(t, endpoint, 5); status != 202 && status != 200 {
					t.Errorf("PUT: %d", status)
				}
				if v := await(t, versions, "version 5"); v != 5 {
					t.Errorf("version %d", v)
				}
				eventually(t, "delivered above", func() bool { return strings.Contains(state(t, endpoint), `"version":5,"state":"delivered"`) })

				stop()
				if status := put(t, endpoint, 6); status != 202 {
					t.Errorf("PUT while away: %d", status)
				}
				want := `"state":"pending"`
				if custody == wire.CustodyRelay {
					want = `"custody":"relay"`
				}
				eventually(t, "kept below", func() bool { return strings.Contains(state(t, endpoint), want) })
				again, versions, _ := listen(t, cfg)
				if v := await(t, versions, "version 6"); v != 6 || again != endpoint {
					t.Errorf("version %d, endpoint %s", v, again)
				}
				eventually(t, "delivered above", func() bool { return strings.Contains(state(t, endpoint), `"version":6,"state":"delivered"`) })
			})
		}
	}
}
