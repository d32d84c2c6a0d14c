package client

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// hop is a small proxy that wants user "u" with password "p", and sends every
// name to one place.
type hop struct {
	t        *testing.T
	to       string
	noTunnel bool // it lets no CONNECT through
	tunnels  atomic.Int32
	plain    atomic.Int32
	conns    sync.WaitGroup
}

func (h *hop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	if r.Header.Get("Proxy-Authorization") != want {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		h.plain.Add(1)
		r.URL.Scheme, r.URL.Host = "http", h.to
		r.RequestURI = ""
		r.Header.Del("Proxy-Authorization")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
		return
	}
	if h.noTunnel {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	h.tunnels.Add(1)
	h.conns.Add(1)
	defer h.conns.Done()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	h.join(conn)
}

// join copies between conn and the one place until either ends.
func (h *hop) join(conn net.Conn) {
	defer conn.Close()
	far, err := net.Dial("tcp", h.to)
	if err != nil {
		return
	}
	defer far.Close()
	h.conns.Go(func() { _, _ = io.Copy(far, conn); far.Close() })
	_, _ = io.Copy(conn, far)
}

func (h *hop) http(t *testing.T, start func(*httptest.Server)) *url.URL {
	s := httptest.NewUnstartedServer(h)
	start(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		h.conns.Wait()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	u, _ := url.Parse(s.URL)
	u.User = url.UserPassword("u", "p")
	return u
}

// socks serves SOCKS5 (RFC 1928) with user and password (RFC 1929).
func (h *hop) socks(t *testing.T) *url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.conns.Go(func() {
				defer conn.Close()
				if h.handshake(conn) {
					h.tunnels.Add(1)
					h.join(conn)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); h.conns.Wait() })
	return &url.URL{Scheme: "socks5", Host: l.Addr().String(), User: url.UserPassword("u", "p")}
}

func (h *hop) handshake(conn net.Conn) bool {
	br := bufio.NewReader(conn)
	take := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(br, b)
		return b
	}
	take(int(take(2)[1]))
	_, _ = conn.Write([]byte{5, 2})
	user := string(take(int(take(2)[1])))
	password := string(take(int(take(1)[0])))
	if user != "u" || password != "p" {
		_, _ = conn.Write([]byte{1, 1})
		return false
	}
	_, _ = conn.Write([]byte{1, 0})
	if req := take(4); req[3] == 3 { // a name: the proxy resolves it
		take(int(take(1)[0]))
	} else {
		take(4)
	}
	binary.BigEndian.Uint16(take(2))
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return true
}

// TestProxies reaches an upstream that only the proxy can resolve, and one on
// loopback, through every kind of proxy, by both transports.
func TestProxies(t *testing.T) {
	for _, kind := range []string{"http", "socks5", "socks5h"} {
		for _, name := range []string{"http://upstream.test:1", ""} {
			for _, mode := range []string{ModeWebSocket, ModePoll} {
				t.Run(kind+" "+name+" "+mode, func(t *testing.T) {
					up := &upstream{
						ws:  func(p *peer) { p.hello(); p.drain() },
						api: (&shelf{t: t}).api(),
					}
					near := up.serve(t)
					h := &hop{t: t, to: strings.TrimPrefix(near, "http://")}
					var p *url.URL
					if kind == "http" {
						p = h.http(t, (*httptest.Server).Start)
					} else {
						p = h.socks(t)
						p.Scheme = kind
					}
					target := name
					if target == "" {
						target = near // loopback does not bypass a proxy that is named
					}
					c := newClient(t, Config{URL: target, Mode: mode, Proxy: p.String(), Agents: []wire.Agent{{UAID: testUAID(1)}}})
					run(t, c)
					eventually(t, "connected", func() bool { return c.State().Connected })
					if h.tunnels.Load()+h.plain.Load() == 0 {
						t.Error("not through the proxy")
					}

					p.User = url.UserPassword("u", "wrong")
					c = newClient(t, Config{URL: target, Mode: ModeWebSocket, Proxy: p.String()})
					err := c.connect(t.Context())
					if ReasonOf(err) != ReasonProxy || strings.Contains(err.Error(), "wrong") || !strings.Contains(err.Error(), p.Host) {
						t.Errorf("with a wrong password: %v", err)
					}
				})
			}
		}
	}
}

// TestProxyWithoutTunnels falls back to polling where a proxy forbids CONNECT.
func TestProxyWithoutTunnels(t *testing.T) {
	up := &upstream{api: (&shelf{t: t}).api()}
	h := &hop{t: t, to: strings.TrimPrefix(up.serve(t), "http://"), noTunnel: true}
	c := newClient(t, Config{
		URL: "http://upstream.test", Proxy: h.http(t, (*httptest.Server).Start).String(), Agents: []wire.Agent{{UAID: testUAID(1)}},
	})
	run(t, c)
	eventually(t, "connected", func() bool { return c.State().Connected })
	if c.State().Transport != TransportPoll || h.plain.Load() == 0 {
		t.Errorf("%+v, %d plain requests", c.State(), h.plain.Load())
	}
}

func TestProxyFromEnvironment(t *testing.T) {
	for _, k := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(k, "")
	}
	t.Setenv("HTTP_PROXY", "http://u:p@proxy.test:3128")
	t.Setenv("HTTPS_PROXY", "socks5://proxy.test")
	t.Setenv("NO_PROXY", "direct.test")
	for _, c := range []struct{ base, configured, want string }{
		{"http://a.test", "", "http://u:p@proxy.test:3128"},
		{"https://a.test", "", "socks5://proxy.test"},
		{"http://direct.test", "", ""},
		{"http://127.0.0.1:8080", "", ""},
		{"http://a.test", ProxyDirect, ""},
		{"http://127.0.0.1:8080", "https://x.test", "https://x.test"},
	} {
		base, _ := url.Parse(c.base)
		p, err := proxyFor(c.configured, base)
		got := ""
		if p != nil {
			got = p.String()
		}
		if err != nil || got != c.want {
			t.Errorf("%s by %q: %q %v, want %q", c.base, c.configured, got, err, c.want)
		}
	}
}

func TestBadProxies(t *testing.T) {
	for _, p := range []string{"ftp://x", "http://", "proxy.test:3128", "http://u:sesame@\x00"} {
		_, err := New(Config{URL: "http://a.test", Proxy: p})
		if !errors.Is(err, edition.ErrConfig) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// TestProxyRefusesToSpeak has a proxy that never answers, one that says too
// much, and one that is not there.
func TestProxyRefusesToSpeak(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX: ")
				for {
					if _, err := conn.Write(make([]byte, 4096)); err != nil {
						return
					}
				}
			})
		}
	})
	defer conns.Wait()
	defer l.Close()
	dial := through(&url.URL{Scheme: "http", Host: l.Addr().String()}, plainDial(&Config{}))
	if _, err := dial(t.Context(), "tcp", "a.test:80"); ReasonOf(err) != ReasonProxy {
		t.Errorf("an endless answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dial(ctx, "tcp", "a.test:80"); ReasonOf(err) != ReasonProxy {
		t.Errorf("cancelled: %v", err)
	}
	dial = through(&url.URL{Scheme: "socks5", Host: "127.0.0.1:1"}, plainDial(&Config{}))
	if _, err := dial(t.Context(), "tcp", "a.test:80"); ReasonOf(err) != ReasonProxy {
		t.Errorf("nobody there: %v", err)
	}
}
