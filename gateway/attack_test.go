package gateway_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/wire"
)

// TestUnproven shows that nobody gets in without a proof, or with a part of one.
func TestUnproven(t *testing.T) {
	k := new(fakeKicks)
	o := options(k)
	o.Callers = append(o.Callers, gateway.Caller{Name: "by certificate", CertName: "hq", Rights: gateway.Rights{Drivers: []string{"udp"}}})
	g := gateway.New(o)
	const body = `{"kick":{"driver":"udp"}}`
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Bearer x", "Bearer " + tokenHQ[1:], "Bearer " + tokenHQ + "x", "Bearer " + strings.ToUpper(tokenHQ),
		"Basic " + tokenHQ, tokenHQ, "Bearer " + tokenHQ + " " + tokenOther,
	} {
		w := call(g, "POST", wire.PathKicks, "", body, func(r *http.Request) { r.Header.Set("Authorization", header) })
		expect(t, fmt.Sprintf("%q", header), w, 401, "")
	}
	// A certificate that the listener has not verified is none.
	w := call(g, "POST", wire.PathKicks, "", body, func(r *http.Request) {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"hq"}}}}
	})
	expect(t, "unverified certificate", w, 401, "")
	w = call(g, "POST", wire.PathKicks, "", body, func(r *http.Request) {
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{DNSNames: []string{"else"}}}}}
	})
	expect(t, "another certificate", w, 401, "")
	if k.count() != 0 {
		t.Errorf("%d kicks were to be sent", k.count())
	}
	w = call(g, "POST", wire.PathKicks, "", body, func(r *http.Request) {
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{DNSNames: []string{"hq"}}}}}
	})
	if w.Code != http.StatusAccepted {
		t.Errorf("the right certificate: %d %s", w.Code, w.Body)
	}
}

// TestGuessing has one address try tokens: soon it is not even told whether
// one is right. Others are not concerned.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateway.New(options(new(fakeKicks)))
		try := func(from, token string) int {
			return call(g, "POST", wire.PathKicks, token, `{"kick":{"driver":"udp"}}`, func(r *http.Request) { r.RemoteAddr = from }).Code
		}
		for i := range 20 {
			if code := try("192.0.2.1:5000", fmt.Sprint("guess ", i)); code != 401 {
				t.Fatalf("guess %d: %d", i, code)
			}
		}
		if code := try("192.0.2.1:5001", "one more"); code != 429 {
			t.Errorf("after 20 guesses: %d", code)
		}
		if code := try("192.0.2.1:5002", tokenHQ); code != 429 {
			t.Errorf("the right token after 20 guesses: %d; so each guess is told right or wrong", code)
		}
		if code := try("192.0.2.2:5000", tokenHQ); code != 202 {
			t.Errorf("another address: %d", code)
		}
		time.Sleep(2 * time.Second)
		if code := try("192.0.2.1:5000", tokenHQ); code != 202 {
			t.Errorf("two seconds later: %d", code)
		}
		// One IPv6 network is one guesser, and many do not fill the memory.
		for i := range 20 {
			try(fmt.Sprintf("[2001:db8::%x]:5000", i+1), "guess")
		}
		if code := try("[2001:db8::ffff]:5000", "guess"); code != 429 {
			t.Errorf("from a network that has guessed 20 times: %d", code)
		}
		for i := range 10_000 {
			try(fmt.Sprintf("[2001:db8:%x::1]:5000", i+1), "guess")
		}
	})
}

// TestForeignKick: an id does not help who does not own it.
func TestForeignKick(t *testing.T) {
	g := gateway.New(options(new(fakeKicks)))
	s := ask(t, g, tokenHQ, `{"kick":{"driver":"udp"}}`)
	unknown := call(g, "GET", wire.PathKicks+"/"+strings.Repeat("0", 32), tokenOther, "").Body.String()
	foreign := call(g, "GET", wire.PathKicks+"/"+s.ID, tokenOther, "")
	if foreign.Code != 404 || foreign.Body.String() != unknown {
		t.Errorf("a foreign kick is answered %d %s, an unknown one %s", foreign.Code, foreign.Body, unknown)
	}
	seen := make(map[string]bool)
	for range 100 {
		id := ask(t, g, tokenHQ, `{"kick":{"driver":"udp"}}`).ID
		if seen[id] {
			t.Fatalf("the id %s comes twice", id)
		}
		seen[id] = true
	}
}

// TestNetworks has a caller aim outside its networks in every way of writing.
func TestNetworks(t *testing.T) {
	k := new(fakeKicks)
	g := gateway.New(options(k))
	for _, kick := range []string{
		`{"driver":"udp","ip":"192.0.2.1"}`,
		`{"driver":"udp","ip":"::ffff:192.0.2.1"}`,
		`{"driver":"udp","ip":"127.0.0.1"}`,
		`{"driver":"udp","ip":"10.0.0.1%eth0"}`,
		`{"driver":"udp","ip":"fe80::1"}`,
		`{"driver":"udp","IP":"192.0.2.1"}`,
		`{"driver":"udp","ip":3221225985}`,
		`{"driver":"udp","ip":null}`,
		`{"driver":"udp","ip":["10.0.0.1"]}`,
		`{"driver":"gw","route":{"driver":"udp","ip":"192.0.2.1"}}`,
		`{"driver":"gw","route":[{"ip":"10.0.0.1"},{"ip":"192.0.2.1"}]}`,
		`[{"driver":"udp","ip":"10.0.0.1"},{"driver":"udp","ip":"192.0.2.1"}]`,
	} {
		w := call(g, "POST", wire.PathKicks, tokenOther, `{"kick":`+kick+`}`)
		if kick == `{"driver":"udp","ip":"10.0.0.1%eth0"}` {
			continue // the zone is dropped, the address is inside
		}
		expect(t, kick, w, 403, "outside the networks")
	}
	n := k.count()
	for _, kick := range []string{
		`{"driver":"udp","ip":"10.0.0.1"}`,
		`{"driver":"udp","ip":"::ffff:10.0.0.1"}`,
		`{"driver":"udp","ip":"2001:db8::1"}`,
		`{"driver":"gw","route":{"driver":"udp","ip":"10.255.255.255"}}`,
		`{"driver":"gw","route":{"driver":"fcm","token":"abc"}}`,
	} {
		ask(t, g, tokenOther, `{"kick":`+kick+`}`)
	}
	if k.count() != n+5 {
		t.Errorf("%d of 5 kicks inside were to be sent", k.count()-n)
	}
}

// TestRate: who asks too often is told when to come back; others are not
// concerned.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(new(fakeKicks))
		o.Callers[0].Rate, o.Callers[0].Burst = 0.1, 3
		g := gateway.New(o)
		const body = `{"kick":{"driver":"udp","ip":"10.0.0.1"}}`
		for range 3 {
			ask(t, g, tokenHQ, body)
		}
		w := call(g, "POST", wire.PathKicks, tokenHQ, body)
		if after := w.Header().Get("Retry-After"); after != "10" {
			t.Errorf("to come back after %s s, at a kick every 10 s", after)
		}
		expect(t, "over the rate", w, 429, "0.1 kicks")
		ask(t, g, tokenOther, body)
		time.Sleep(10 * time.Second)
		ask(t, g, tokenHQ, body)
		expect(t, "over the rate again", call(g, "POST", wire.PathKicks, tokenHQ, body), 429, "")
	})
}

func TestOversized(t *testing.T) {
	k := new(fakeKicks)
	s := httptest.NewServer(gateway.New(options(k)))
	defer s.Close()
	post := func(body io.Reader) int {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+wire.PathKicks, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+tokenHQ)
		r.Header.Set("Content-Type", "application/json")
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	big := `{"kick":{"driver":"udp","x":"` + strings.Repeat("x", 8<<10) + `"}}`
	if code := post(strings.NewReader(big)); code != 413 {
		t.Errorf("8 KiB and more: %d", code)
	}
	// Without a length, and not over a socket: who is still sending when the
	// server hangs up may miss the answer.
	var read endless
	w := call(gateway.New(options(k)), "POST", wire.PathKicks, tokenHQ, "", func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(&read), -1
	})
	if w.Code != 413 || read > 64<<10 {
		t.Errorf("without an end: %d after %d bytes", w.Code, read)
	}
	if k.count() != 0 {
		t.Error("a kick was to be sent")
	}
}

// endless is a body of blanks, and counts them.
type endless int

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	*e += endless(len(b))
	return len(b), nil
}

// TestSlowBody has a caller send a byte now and then: the request ends when
// its time is over, and nothing was sent.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := new(fakeKicks)
		here, there := net.Pipe()
		l := &oneConn{conn: there, closed: make(chan struct{})}
		s := &http.Server{Handler: gateway.New(options(k))}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		start := time.Now()
		dribbled := make(chan struct{})
		go func() {
			defer close(dribbled)
			fmt.Fprintf(here, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", wire.PathKicks, tokenHQ)
			for range 60 {
				if _, err := here.Write([]byte(" ")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(here), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(start); resp.StatusCode != 400 || took > 15*time.Second {
			t.Errorf("answered %d after %v", resp.StatusCode, took)
		}
		if k.count() != 0 {
			t.Error("a kick was to be sent")
		}
		here.Close()
		s.Close()
		<-served
		<-dribbled
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
