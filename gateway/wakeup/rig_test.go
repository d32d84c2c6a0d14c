package wakeup_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/gateway/wakeup"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

func prefixes(cidrs ...string) (list []netip.Prefix) {
	for _, c := range cidrs {
		list = append(list, netip.MustParsePrefix(c))
	}
	return list
}

// loopback lets everybody call who is on this machine, as is everybody here.
func loopback() wakeup.Access { return wakeup.Access{Networks: prefixes("127.0.0.0/8", "::1/128")} }

// dispatcher has an entry udp into 127.0.0.0/8; its targets must be the
// device's own address.
func dispatcher(t *testing.T) *kickdrivers.Dispatcher {
	t.Helper()
	entries, err := kickdrivers.Decode([]map[string]any{{
		"name": "local", "driver": "udp", "confirm": true, "target_rate": 0, "tcp_timeout": "1m",
		"networks": []any{map[string]any{"cidrs": []any{"127.0.0.0/8"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := kickdrivers.New(kickdrivers.Options{
		Entries:  entries,
		Routes:   func(edition.Holder) (edition.Routes, error) { return nil, nil },
		StillDue: func(edition.Holder) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, d.Run)
	return d
}

// run runs something until the test ends.
func run(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// start puts a node on a socket.
func start(t *testing.T, o wakeup.Options) (n *wakeup.Node, url string, stop func()) {
	t.Helper()
	if o.Global.Timeout == 0 {
		o.Global.Timeout = 2 * patience // a slow machine is no local node that is down
	}
	n, err := wakeup.New(o)
	if err != nil {
		t.Fatal(err)
	}
	stop = run(t, n.Run)
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	return n, s.URL, stop
}

// local starts a local node over a real dispatcher.
func local(t *testing.T) (url string) {
	t.Helper()
	_, url, _ = start(t, wakeup.Options{Access: loopback(), Kicks: dispatcher(t), Driver: "local"})
	return url
}

// call makes one request and returns status, text and header.
func call(t *testing.T, method, url, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// phone is a device's socket.
func phone(t *testing.T) (net.PacketConn, string) {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, port, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return c, port
}

func read(t *testing.T, c net.PacketConn) string {
	t.Helper()
	buf := make([]byte, 1024)
	c.SetReadDeadline(time.Now().Add(patience))
	n, _, err := c.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// noted takes every kick and notes it.
type noted struct {
	mu    sync.Mutex
	kicks []string
	err   error
}

func (k *noted) Check(kick json.RawMessage, from netip.Addr, _ int) (edition.Routes, error) {
	return edition.Routes{{Driver: "local", Target: kick}}, nil
}

func (k *noted) Wake(w kickdrivers.Wake) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	k.kicks = append(k.kicks, string(w.Routes[0].Target)+w.Confirm)
	return nil
}

func (k *noted) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.kicks...)
}
