package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

// heard collects what an app is called with.
type heard struct {
	mu        sync.Mutex
	endpoints []string
	versions  []edition.Version
}

func (h *heard) app(name string) App {
	return App{
		Name:       name,
		OnEndpoint: func(e string) { h.mu.Lock(); defer h.mu.Unlock(); h.endpoints = append(h.endpoints, e) },
		OnVersion:  func(v edition.Version) { h.mu.Lock(); defer h.mu.Unlock(); h.versions = append(h.versions, v) },
	}
}

func (h *heard) got() ([]string, []edition.Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.endpoints), slices.Clone(h.versions)
}

func openDevice(t *testing.T, cfg DeviceConfig) *Device {
	t.Helper()
	d, err := OpenDevice(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// runDevice starts d; stop ends it.
func runDevice(t *testing.T, d *Device) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestDevice is the whole story, over each transport: register, be called,
// restart, be called with rising versions only, be forgotten by upstream,
// unregister.
func TestDevice(t *testing.T) {
	for _, mode := range []string{ModeWebSocket, ModePoll} {
		t.Run(mode, func(t *testing.T) {
			p, up := newPlace(t)
			cfg := DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t), Mode: mode, Interval: 20 * time.Millisecond}}
			d := openDevice(t, cfg)
			mail, cal := new(heard), new(heard)
			for _, err := range []error{d.Register(mail.app("mail")), d.Register(cal.app("cal"))} {
				if err != nil {
					t.Fatal(err)
				}
			}
			stop := runDevice(t, d)
			eventually(t, "endpoints", func() bool { a, _ := mail.got(); b, _ := cal.got(); return len(a) == 1 && len(b) == 1 })
			apps := d.Apps()
			if e, _ := mail.got(); e[0] != d.Endpoint("mail") || !strings.HasSuffix(e[0], apps[0].AppID.String()) {
				t.Errorf("endpoint %q, %+v", e, apps)
			}
			p.put(apps[0].AppID, 5)
			eventually(t, "version 5", func() bool { return p.isAcked(apps[0].AppID, 5) })
			p.put(apps[0].AppID, 4) // older: acked, and not reported
			eventually(t, "ack of 4", func() bool { return p.isAcked(apps[0].AppID, 4) })
			p.put(apps[0].AppID, 9)
			eventually(t, "version 9", func() bool { return p.isAcked(apps[0].AppID, 9) })
			stop()

			// The same device in a new process; upstream has forgotten it.
			p.mu.Lock()
			p.known, p.peers = map[edition.AppID]bool{}, nil
			p.mu.Unlock()
			d2 := openDevice(t, cfg)
			again := new(heard)
			if err := d2.Register(again.app("mail")); err != nil {
				t.Fatal(err)
			}
			if d2.UAID() != d.UAID() || d2.Endpoint("mail") != d.Endpoint("mail") {
				t.Error("another device after a restart")
			}
			stop = runDevice(t, d2)
			eventually(t, "registered again", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.known) == 2 })
			p.put(apps[0].AppID, 9)
			p.put(apps[0].AppID, 10)
			eventually(t, "version 10", func() bool { return p.isAcked(apps[0].AppID, 10) })
			if e, v := again.got(); !slices.Equal(v, []edition.Version{10}) || len(e) != 1 {
				t.Errorf("after the restart: endpoints %v, versions %v", e, v)
			}
			if _, v := mail.got(); !slices.Equal(v, []edition.Version{5, 9}) {
				t.Errorf("before: %v", v)
			}

			if err := d2.Unregister("cal"); err != nil {
				t.Fatal(err)
			}
			if err := d2.Unregister("cal"); !errors.Is(err, edition.ErrNotFound) {
				t.Errorf("%v", err)
			}
			eventually(t, "unregistered", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.known) == 1 })
			p.put(edition.NewAppID(), 1) // of nobody: withdrawn, so that its app server learns
			eventually(t, "a stray withdrawn", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.wait) == 0 })
			stop()
			if s, err := loadState(cfg.State); err != nil || len(s.Apps) != 1 || *s.Apps[0].Version != 10 {
				t.Errorf("%+v %v", s, err)
			}
		})
	}
}

// TestDeviceCrashes has the process die after the app was called and before
// the state was written: the version was not acked, and comes again.
func TestDeviceCrashes(t *testing.T) {
	p, up := newPlace(t)
	cfg := DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t)}}
	d := openDevice(t, cfg)
	if err := d.Register(App{Name: "a", OnVersion: func(edition.Version) {
		// From now on the state file cannot be written: as good as a crash.
		d.mu.Lock()
		d.cfg.State += "/gone/x"
		d.mu.Unlock()
	}}); err != nil {
		t.Fatal(err)
	}
	stop := runDevice(t, d)
	eventually(t, "an endpoint", func() bool { return d.Endpoint("a") != "" })
	app := d.Apps()[0].AppID
	p.put(app, 7)
	eventually(t, "the call", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.unsaved })
	stop()
	if p.isAcked(app, 7) {
		t.Fatal("acked before the state was written")
	}
	h := new(heard)
	d = openDevice(t, cfg)
	if err := d.Register(h.app("a")); err != nil {
		t.Fatal(err)
	}
	runDevice(t, d)
	eventually(t, "the version again", func() bool { return p.isAcked(app, 7) })
	if _, v := h.got(); !slices.Equal(v, []edition.Version{7}) {
		t.Errorf("%v", v)
	}
}

// TestDeviceWritesAgain has the state file fail for a while; then what upstream
// sends again is acked without calling the app again.
func TestDeviceWritesAgain(t *testing.T) {
	p, up := newPlace(t)
	cfg := DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t)}}
	d := openDevice(t, cfg)
	h := new(heard)
	if err := d.Register(h.app("a")); err != nil {
		t.Fatal(err)
	}
	runDevice(t, d)
	eventually(t, "an endpoint", func() bool { return d.Endpoint("a") != "" })
	app := d.Apps()[0].AppID
	d.mu.Lock()
	d.cfg.State += "/gone/x"
	d.mu.Unlock()
	p.put(app, 7)
	eventually(t, "the call", func() bool { _, v := h.got(); return len(v) == 1 })
	d.mu.Lock()
	d.cfg.State = cfg.State
	d.mu.Unlock()
	eventually(t, "the ack", func() bool { p.put(app, 7); return p.isAcked(app, 7) })
	if _, v := h.got(); len(v) != 1 {
		t.Errorf("called with %v", v)
	}
}

func TestDevicePanics(t *testing.T) {
	p, up := newPlace(t)
	d := openDevice(t, DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t)}})
	if err := d.Register(App{Name: "a", OnVersion: func(edition.Version) { panic("app") }, OnEndpoint: func(string) { panic("app") }}); err != nil {
		t.Fatal(err)
	}
	runDevice(t, d)
	eventually(t, "an endpoint", func() bool { return d.Endpoint("a") != "" })
	app := d.Apps()[0].AppID
	for v := edition.Version(1); v < 4; v++ {
		p.put(app, v)
		eventually(t, "an ack", func() bool { return p.isAcked(app, v) })
	}
}

// TestEnrol registers without Run, waits out a 503, and does not insist on
// what upstream refuses.
func TestEnrol(t *testing.T) { synctest.Test(t, testEnrol) }

func testEnrol(t *testing.T) {
	all, end := context.WithCancel(t.Context())
	defer end()
	p, up := newPlace(t)
	p.failures = []error{edition.RetryAfter(edition.ErrUnavailable, time.Second)}
	d := openDevice(t, DeviceConfig{State: statePath(t), Config: Config{URL: "http://x.test", Proxy: ProxyDirect, Dial: up.pipe(all, t)}})
	if err := d.Register(App{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := d.Enrol(t.Context()); err != nil || d.Endpoint("a") == "" {
		t.Errorf("%v, endpoint %q", err, d.Endpoint("a"))
	}
	if time.Since(start) < time.Second || len(p.asked) != 2 {
		t.Errorf("%d requests in %v, Retry-After was 1 s", len(p.asked), time.Since(start))
	}

	if err := d.Register(App{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{edition.ErrUnauthorized, edition.ErrForbidden, edition.ErrMalformed} {
		p.failures = []error{want}
		if err := d.Enrol(t.Context()); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		p.failures = []error{want}
		if err := d.Run(t.Context()); !errors.Is(err, want) {
			t.Errorf("Run: %v, want %v", err, want)
		}
	}
	p.failures = []error{edition.RetryAfter(edition.ErrUnavailable, time.Hour)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := d.Enrol(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	d.client.rest.close()
}

// TestSleepingDevice is woken by datagrams: it takes what waits, acks it, and
// sleeps again.
func TestSleepingDevice(t *testing.T) {
	t.Parallel()
	p, up := newPlace(t)
	d := openDevice(t, DeviceConfig{
		State: statePath(t), Config: Config{URL: up.serve(t)}, UDP: "127.0.0.1:0", Route: map[string]any{"netid": "cellar"},
	})
	h := new(heard)
	if err := d.Register(h.app("a")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	runDevice(t, d)
	eventually(t, "an endpoint", func() bool { e, _ := h.got(); return len(e) == 1 })
	var route struct {
		IP, Proto, NetID string
		Port             int
	}
	if err := json.Unmarshal(p.asked[0].Kick, &route); err != nil || route.IP != "127.0.0.1" || route.Proto != "udp" || route.NetID != "cellar" {
		t.Fatalf("route %s: %v", p.asked[0].Kick, err)
	}
	eventually(t, "sleep", func() bool { return !d.Connection().Connected })
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", route.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	app := d.Apps()[0].AppID
	for v := edition.Version(1); v < 3; v++ {
		p.put(app, v)
		for range 50 { // a storm wakes it as one datagram does
			_, _ = conn.Write([]byte("NOTIFY"))
		}
		eventually(t, "an ack", func() bool { return p.isAcked(app, v) })
	}
	if _, v := h.got(); !slices.Equal(v, []edition.Version{1, 2}) {
		t.Errorf("%v", v)
	}
	// A machine that stands still between datagrams lets a look a second pass.
	if n, most := up.requests(), 20+2*int(time.Since(start)/wakeGap); n > most {
		t.Errorf("%d requests for two versions and a storm, want at most %d", n, most)
	}

	// Upstream loses its store; the next datagram heals it.
	p.mu.Lock()
	p.known = map[edition.AppID]bool{}
	p.mu.Unlock()
	eventually(t, "registered again", func() bool {
		_, _ = conn.Write([]byte("NOTIFY"))
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.known) == 1
	})
}

func TestSleepingDeviceMoves(t *testing.T) {
	p, up := newPlace(t)
	cfg := DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t)}, UDP: "127.0.0.1:0"}
	d := openDevice(t, cfg)
	if err := d.Register(App{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	first, second := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4000}, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 4000}
	for range 2 {
		if err := d.look(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.kicks) != 0 {
		t.Errorf("kick routes %v", p.kicks)
	}
	if err := d.look(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if len(p.kicks) != 1 || !strings.Contains(p.kicks[0], "10.0.0.2") {
		t.Errorf("kick routes %v", p.kicks)
	}
	d.client.rest.close()
}

func TestOpenDevice(t *testing.T) {
	if _, err := OpenDevice(DeviceConfig{Config: Config{URL: "http://x.test"}}); !errors.Is(err, edition.ErrConfig) {
		t.Errorf("no state file: %v", err)
	}
	path := statePath(t)
	if _, err := OpenDevice(DeviceConfig{State: path}); !errors.Is(err, edition.ErrConfig) {
		t.Errorf("no URL: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a device that cannot be was written")
	}
	d := openDevice(t, DeviceConfig{State: path, Config: Config{URL: "http://x.test"}, UDP: "no address"})
	if err := d.Run(t.Context()); !errors.Is(err, edition.ErrListen) {
		t.Errorf("%v", err)
	}
	d.state.Apps = []*appState{{Name: "a", AppID: edition.NewAppID(), Endpoint: "http://x.test/1"}}
	if err := d.state.save(path); err != nil {
		t.Fatal(err)
	}
	if d = openDevice(t, DeviceConfig{State: path, Config: Config{URL: "http://y.test"}}); d.Endpoint("a") != "" {
		t.Error("an endpoint of another upstream was kept")
	}
}
