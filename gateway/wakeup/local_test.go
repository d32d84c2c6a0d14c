package wakeup_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/gateway/wakeup"
)

// TestLocalDatagram has a local node send datagrams, asked in all ways.
func TestLocalDatagram(t *testing.T) {
	url := local(t)
	c, port := phone(t)
	for _, ask := range []struct{ method, path, body string }{
		{"GET", "/wakeup?ip=127.0.0.1&port=" + port, ""},
		{"GET", "/wakeup?ip=127.0.0.1&proto=udp&port=" + port, ""},
		{"GET", "/wakeup/?ip=127.0.0.1&port=" + port, ""},
		{"GET", "/?ip=127.0.0.1&port=" + port, ""},
		{"POST", "/wakeup", "ip=127.0.0.1&port=" + port},
		{"POST", "/wakeup", "proto=udp&ip=::ffff:127.0.0.1&port=" + port},
	} {
		status, text, header := call(t, ask.method, url+ask.path, ask.body, "X-Tracking-ID", "track-7")
		if status != 200 || text != "Accepted" || header.Get("X-Tracking-ID") != "track-7" {
			t.Errorf("%v: %d %s, %v", ask, status, text, header)
		}
		if got, want := read(t, c), "NOTIFY 127.0.0.1:"+port; got != want {
			t.Errorf("%v: the device got %q, want %q", ask, got, want)
		}
	}
	if status, text, _ := call(t, "GET", url+"/wakeup?confirm=ABCD1234&ip=127.0.0.1&port="+port, ""); status != 200 {
		t.Errorf("with a code: %d %s", status, text)
	}
	if got, want := read(t, c), "NOTIFY 127.0.0.1:"+port+" ABCD1234"; got != want {
		t.Errorf("with a code the device got %q, want %q", got, want)
	}
}

func TestLocalTCP(t *testing.T) {
	url := local(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := l.Addr().(*net.TCPAddr)
	if status, text, _ := call(t, "POST", url+"/wakeup", fmt.Sprintf("ip=127.0.0.1&proto=tcp&port=%d", at.Port)); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if want := fmt.Sprintf("NOTIFY 127.0.0.1:%d", at.Port); err != nil || string(got) != want {
		t.Errorf("the device got %q, %v; want %q", got, err, want)
	}
}

// TestLocalRefuses gives the answers of the platform.
func TestLocalRefuses(t *testing.T) {
	url := local(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"GET", "/wakeup", "", 400, "no parameters"},
		{"POST", "/wakeup", "", 400, "no parameters"},
		{"GET", "/wakeup?ip=127.0.0.1", "", 400, "port"},
		{"GET", "/wakeup?port=4000", "", 400, "ip"},
		{"GET", "/wakeup?ip=localhost&port=4000", "", 400, "ip"},
		{"GET", "/wakeup?ip=127.0.0.1%25lo&port=4000", "", 400, "ip"},
		{"GET", "/wakeup?ip=::1%25lo&port=4000", "", 400, "ip"},
		{"GET", "/wakeup?ip=2130706433&port=4000", "", 400, "ip"},
		{"GET", "/wakeup?ip=127.0.0.1&port=0", "", 400, "port"},
		{"GET", "/wakeup?ip=127.0.0.1&port=65536", "", 400, "port"},
		{"GET", "/wakeup?ip=127.0.0.1&port=-1", "", 400, "port"},
		{"GET", "/wakeup?ip=127.0.0.1&port=4e3", "", 400, "port"},
		{"GET", "/wakeup?ip=127.0.0.1&port=4000&proto=sctp", "", 400, "proto"},
		{"GET", "/wakeup?ip=127.0.0.1&port=4000&proto=UDP", "", 400, "proto"},
		{"GET", "/wakeup?ip=127.0.0.1&port=4000&confirm=a%0Ab", "", 400, "confirm"},
		{"GET", "/wakeup?ip=127.0.0.1&ip=127.0.0.2&port=4000", "", 400, "twice"},
		{"GET", "/wakeup?ip=127.0.0.1;port=4000", "", 400, "no parameters"},
		{"POST", "/wakeup?ip=127.0.0.1&port=4000", "", 400, "no parameters"},
		{"POST", "/wakeup", strings.Repeat("x", 5000), 413, "4096"},
		{"GET", "/wakeup?ip=192.0.2.1&port=4000", "", 400, "outside the networks"},
		{"GET", "/wakeup?ip=127.0.0.1&port=80", "", 400, "port 80"},
		{"GET", "/wakeup?ip=127.255.255.255&port=4000", "", 400, "not one host"},
		{"PUT", "/wakeup", "", 405, "GET, POST"},
		{"DELETE", "/wakeup", "", 405, "GET, POST"},
		{"GET", "/about", "", 404, "Not found"},
		{"GET", "/", "", 404, "Not found"},
		{"POST", "/wakeup/v1", "ip=127.0.0.1&port=4000&netid=x", 404, "Not found"},
		{"GET", "/netinfo/v1", "", 404, "Not found"},
	} {
		status, text, header := call(t, c.method, url+c.path, c.body)
		if status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s %s %.40s: %d %q, want %d … %s", c.method, c.path, c.body, status, text, c.status, c.text)
		}
		if header.Get("X-Tracking-ID") == "" || header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s %s: %v", c.method, c.path, header)
		}
		if (status == 405) != (header.Get("Allow") != "") {
			t.Errorf("%s %s: Allow %q", c.method, c.path, header.Get("Allow"))
		}
	}
	if status, _, header := call(t, "OPTIONS", url+"/wakeup", ""); status != 200 || header.Get("Allow") != "GET, POST, OPTIONS" || header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("OPTIONS: %d %v", status, header)
	}
}

// TestBusy: what the dispatcher cannot take now is 503, with when to come back.
func TestBusy(t *testing.T) {
	k := &noted{err: edition.RetryAfter(edition.ErrTooMany, 7*time.Second)}
	n, url, stop := start(t, wakeup.Options{Access: loopback(), Kicks: k, Driver: "local"})
	status, text, header := call(t, "GET", url+"/wakeup?ip=10.0.0.1&port=4000", "")
	if status != 503 || header.Get("Retry-After") != "7" {
		t.Errorf("%d %s, %v", status, text, header)
	}
	k.mu.Lock()
	k.err = nil
	k.mu.Unlock()
	n.Drain()
	if status, text, _ := call(t, "GET", url+"/wakeup?ip=10.0.0.1&port=4000", ""); status != 503 || len(k.all()) != 0 {
		t.Errorf("after Drain: %d %s, %q", status, text, k.all())
	}
	stop()
}

// TestStatus takes a node out for load balancers, and back in.
func TestStatus(t *testing.T) {
	n, url, _ := start(t, wakeup.Options{Access: loopback(), Kicks: new(noted), Driver: "local"})
	get := func() int {
		status, _, _ := call(t, "GET", url+"/status", "")
		return status
	}
	if get() != 200 {
		t.Error("a new node is not available")
	}
	for _, body := range []string{"", "enable=", "enable=maybe", "x=y"} {
		if status, _, _ := call(t, "POST", url+"/status", body); status != 400 || get() != 200 {
			t.Errorf("%q: %d", body, status)
		}
	}
	if status, _, _ := call(t, "POST", url+"/status", "enable=false"); status != 200 || get() != 503 {
		t.Errorf("out: %d, then %d", status, get())
	}
	if status, _, _ := call(t, "GET", url+"/wakeup?ip=10.0.0.1&port=4000", ""); status != 200 {
		t.Errorf("who comes while it is out: %d", status)
	}
	if status, _, _ := call(t, "POST", url+"/status", "enable=true"); status != 200 || get() != 200 {
		t.Errorf("in: %d, then %d", status, get())
	}
	n.Drain()
	if get() != 503 {
		t.Error("a node that drains says that it is available")
	}
}

// TestAccess has all kinds of callers try.
func TestAccess(t *testing.T) {
	verified := func(name string) func(*http.Request) {
		return func(r *http.Request) {
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: name}}}}}
		}
	}
	from := func(addr string, header ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.RemoteAddr = addr
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
		}
	}
	const ok = "X-Client-Cert-Verified"
	everything := wakeup.Access{CertNames: []string{"push.example"}, Proxies: prefixes("10.9.0.0/16"), Networks: prefixes("10.0.0.0/8", "2001:db8::/32")}
	for _, c := range []struct {
		name   string
		access wakeup.Access
		change func(*http.Request)
		in     bool
	}{
		{"nobody may", wakeup.Access{}, from("127.0.0.1:1"), false},
		{"nobody may, and a header", wakeup.Access{}, from("127.0.0.1:1", ok, "SUCCESS"), false},
		{"in the network", everything, from("10.1.2.3:1"), true},
		{"in the network, mapped", everything, from("[::ffff:10.1.2.3]:1"), true},
		{"in the IPv6 network", everything, from("[2001:db8::1]:1"), true},
		{"outside", everything, from("192.0.2.1:1"), false},
		{"outside with a header", everything, from("192.0.2.1:1", ok, "SUCCESS", "X-Real-IP", "10.1.2.3", "X-Forwarded-For", "10.1.2.3"), false},
		{"by a proxy that verified", everything, from("10.9.0.1:1", ok, "SUCCESS"), true},
		{"by a proxy that did not", everything, from("10.9.0.1:1"), false},
		{"by a proxy that failed to", everything, from("10.9.0.1:1", ok, "FAILED"), false},
		{"with the certificate", everything, verified("push.example"), true},
		{"with another's", everything, verified("evil.example"), false},
		{"with any, where any will do", wakeup.Access{}, verified("evil.example"), true},
		{"from nowhere", everything, from("unknown"), false},
	} {
		k := new(noted)
		n, err := wakeup.New(wakeup.Options{Access: c.access, Kicks: k, Driver: "local"})
		if err != nil {
			t.Fatal(err)
		}
		for _, ask := range []struct{ method, path, body string }{
			{"GET", "/wakeup?ip=10.0.0.1&port=4000", ""},
			{"POST", "/status", "enable=true"},
		} {
			r := httptest.NewRequest(ask.method, ask.path, strings.NewReader(ask.body))
			c.change(r)
			w := httptest.NewRecorder()
			n.ServeHTTP(w, r)
			if in := w.Code == 200; in != c.in || !in && (w.Code != 400 || w.Body.String() != "Client certificate not accepted") {
				t.Errorf("%s: %s %s: %d %s", c.name, ask.method, ask.path, w.Code, w.Body)
			}
		}
		if sent := len(k.all()) > 0; sent != c.in {
			t.Errorf("%s: sent %q", c.name, k.all())
		}
		r := httptest.NewRequest("GET", "/status", nil)
		c.change(r)
		w := httptest.NewRecorder()
		if n.ServeHTTP(w, r); w.Code != 200 {
			t.Errorf("%s: GET /status: %d", c.name, w.Code)
		}
	}
}

// TestTrackingID: a strange one is not repeated, into logs and other nodes.
func TestTrackingID(t *testing.T) {
	n, err := wakeup.New(wakeup.Options{Access: loopback(), Kicks: new(noted), Driver: "local"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "a b", "a\"b", "ä", strings.Repeat("x", 65)} {
		r := httptest.NewRequest("GET", "/status", nil)
		r.Header.Set("X-Tracking-ID", id)
		w := httptest.NewRecorder()
		n.ServeHTTP(w, r)
		if got := w.Header().Get("X-Tracking-ID"); got == id || got == "" {
			t.Errorf("%q: got %q", id, got)
		}
	}
}
