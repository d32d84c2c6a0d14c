package outbound

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
)

// secure starts a server by https and returns it with its port and a file
// that holds its certificate, which names example.com and *.example.com.
func secure(t *testing.T, h http.HandlerFunc) (s *httptest.Server, port, ca string) {
	t.Helper()
	s = httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, b, 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s, u.Port(), ca
}

// client returns one that is patient, unless o says how long it waits: only a
// test of time is to see a request time out.
func client(t *testing.T, o Options) *http.Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func post(t *testing.T, c *http.Client, to string) (*Answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return Do(c, req, 100)
}

// names returns a resolver that answers each question about IPv4 with what
// answers returns for it, and everything else with nothing.
func names(answers func() []netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			for answer(there, answers) == nil {
			}
		}()
		return patient{here}, nil
	}}
}

// patient has no deadlines: a resolver that asked twice would be a test's fault
// and not a slow machine's.
type patient struct{ net.Conn }

func (patient) SetDeadline(time.Time) error { return nil }

// answer answers one question, framed as over TCP (RFC 1035, section 4.2.2).
func answer(c net.Conn, answers func() []netip.Addr) error {
	var n [2]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return err
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		for _, ip := range answers() {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: ip.As4()},
			})
		}
	}
	b, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

var (
	allowedIP   = netip.MustParseAddr("127.0.0.1") // listed in the tests below
	forbiddenIP = netip.MustParseAddr("127.0.0.2")
)

// TestRebinding has a name whose address is fine when first asked for and
// within the operator's own networks later, each way round.
func TestRebinding(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers [][]netip.Addr // by question; the last stays
		want    []bool         // by request
	}{
		{"fine, then inside", [][]netip.Addr{{allowedIP}, {forbiddenIP}}, []bool{true, false, false}},
		{"inside, then fine", [][]netip.Addr{{forbiddenIP}, {allowedIP}}, []bool{false, true}},
		{"both at once", [][]netip.Addr{{forbiddenIP, allowedIP}}, []bool{true, true}},
		{"metadata", [][]netip.Addr{{netip.MustParseAddr("169.254.169.254")}}, []bool{false}},
		{"private", [][]netip.Addr{{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.168.0.1")}}, []bool{false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var arrived atomic.Int32
			_, port, ca := secure(t, func(w http.ResponseWriter, _ *http.Request) { arrived.Add(1) })
			// Were 127.0.0.2 connected to, it would be heard here, where there is
			// such an address.
			if inside, err := net.Listen("tcp", net.JoinHostPort(forbiddenIP.String(), port)); err == nil {
				defer inside.Close()
				go func() {
					if conn, err := inside.Accept(); err == nil {
						t.Error("a connection into the inside")
						conn.Close()
					}
				}()
			}
			var asked atomic.Int32
			resolver := names(func() []netip.Addr { return c.answers[min(int(asked.Add(1)), len(c.answers))-1] })
			sent := int32(0)
			for i, want := range c.want {
				hc := client(t, Options{ // a new one: it has to ask again
					TLS:      TLS{CAFile: ca},
					Guard:    guardFor(t, []string{"push.example.com:" + port}, []string{"127.0.0.1/32"}),
					Resolver: resolver,
				})
				a, err := post(t, hc, "https://push.example.com:"+port+"/secret")
				if want {
					sent++
				}
				switch {
				case want && (err != nil || a.Status != http.StatusOK):
					t.Errorf("request %d: %v, %v", i, a, err)
				case !want && !errors.Is(err, edition.ErrForbidden):
					t.Errorf("request %d: %v, %v; want ErrForbidden", i, a, err)
				case !want && strings.Contains(err.Error(), "secret"):
					t.Errorf("request %d: the error carries the URL: %v", i, err)
				}
			}
			if got := arrived.Load(); got != sent {
				t.Errorf("%d requests arrived, want %d", got, sent)
			}
		})
	}
}

func TestNoRedirect(t *testing.T) {
	var hits atomic.Int32
	for _, code := range []int{301, 302, 303, 307, 308} {
		s, port, ca := secure(t, func(w http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
			w.WriteHeader(code)
		})
		for _, g := range []*Guard{nil, guardFor(t, []string{"127.0.0.1:" + port}, []string{"127.0.0.0/8"})} {
			hits.Store(0)
			a, err := post(t, client(t, Options{TLS: TLS{CAFile: ca}, Guard: g}), s.URL)
			if err != nil || a.Status != code || hits.Load() != 1 {
				t.Errorf("%d: %v, %v after %d requests", code, a, err, hits.Load())
			}
		}
	}
}

// TestNoProxy shows that the environment does not lead requests elsewhere.
func TestNoProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	for _, key := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"} {
		t.Setenv(key, proxy.URL)
	}
	_, port, ca := secure(t, func(http.ResponseWriter, *http.Request) {})
	hc := client(t, Options{TLS: TLS{CAFile: ca}, Resolver: names(func() []netip.Addr { return []netip.Addr{allowedIP} })})
	if hc.Transport.(*http.Transport).Proxy != nil {
		t.Error("the transport has a proxy")
	}
	if a, err := post(t, hc, "https://push.example.com:"+port+"/"); err != nil || a.Status != http.StatusOK {
		t.Errorf("%v, %v", a, err)
	}
}

func TestGuardedRequest(t *testing.T) {
	_, port, ca := secure(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	hc := client(t, Options{TLS: TLS{CAFile: ca}, Guard: guardFor(t, []string{"127.0.0.1:" + port}, []string{"127.0.0.0/8"})})
	for _, to := range []string{
		"http://127.0.0.1:" + port, "https://127.0.0.1", "https://localhost:" + port, "https://u:p@127.0.0.1:" + port, "https://2130706433:" + port,
	} {
		if a, err := post(t, hc, to); !errors.Is(err, edition.ErrForbidden) {
			t.Errorf("%s: %v, %v; want ErrForbidden", to, a, err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+port, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "inside.example"
	if a, err := Do(hc, req, 0); err == nil {
		t.Errorf("a request that names another host: %v", a)
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		body    int
		cut     bool
		err     bool
	}{
		{"none", func(http.ResponseWriter, *http.Request) {}, 0, false, false},
		{"all of it", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 100)) }, 100, false, false},
		{"more", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 101)) }, 100, true, false},
		{"without end", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := fmt.Fprint(w, strings.Repeat("x", 1<<16)); err != nil {
					return
				}
			}
		}, 100, true, false},
		{"breaks off", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "part")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 4, true, false},
		{"a long header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}, 0, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(c.handler)
			defer s.Close()
			a, err := post(t, client(t, Options{}), s.URL)
			if c.err {
				if err == nil {
					t.Errorf("%d, %d bytes", a.Status, len(a.Body))
				}
				return
			}
			if err != nil || len(a.Body) != c.body || a.Cut != c.cut {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done }))
	defer s.Close()
	defer close(done)
	a, err := post(t, client(t, Options{Timeout: 50 * time.Millisecond}), s.URL+"/secret")
	if late, ok := errors.AsType[net.Error](err); !ok || !late.Timeout() || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v, %v", a, err)
	}
}

func TestUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "out") // short: a socket's path is at most about 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Skip(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path) })}
	defer s.Close()
	go s.Serve(l)
	a, err := post(t, client(t, Options{Unix: filepath.Join(dir, "s")}), "http://any.example/path")
	if err != nil || string(a.Body) != "any.example/path" {
		t.Errorf("%v, %v", a, err)
	}
}

func TestErrorsAreShort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(c, "%s\r\n\r\n", strings.Repeat("é", 2000))
			c.Close()
		}
	}()
	if a, err := post(t, client(t, Options{}), "http://"+l.Addr().String()); err == nil || len(err.Error()) > maxError+len("…") {
		t.Errorf("%v, %v", a, err)
	}
}

func TestRetryAfter(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-7": 0, "1.5": 0, "99999999": 24 * time.Hour,
		"99999999999999999999": 0, "x": 0, "Wed, 21 Oct 2015 07:28:00 GMT": 0, "Wed, 21 Oct 2415 07:28:00 GMT": 24 * time.Hour,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {v}}); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", v, got, want)
		}
	}
	at := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	if got := RetryAfter(http.Header{"Retry-After": {at}}); got < 50*time.Minute || got > time.Hour {
		t.Errorf("RetryAfter(%q) = %v", at, got)
	}
}

func TestMain(m *testing.M) { leak.Main(m) }
