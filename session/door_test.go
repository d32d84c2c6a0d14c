package session

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// door is a server under test, with its store, on a listener in memory or on
// loopback.
type door struct {
	*Server
	t     testing.TB
	store edition.Store
	reg   *registrar
	url   string
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	http  *http.Client
	stop  context.CancelFunc // ends Run
	ended chan struct{}      // Run has ended
	serve *http.Server
}

// registrar is a server's own, without sealed endpoints.
type registrar struct {
	edition.Store

	mu      sync.Mutex
	present []edition.Agent
	claim   func(who []edition.Credential, owner edition.Owner) ([]edition.UAID, error)
	fail    error
}

func (r *registrar) Register(ctx context.Context, g edition.Registration) (string, error) {
	if r.fail != nil {
		return "", r.fail
	}
	return "https://push.example/v1/e/" + g.AppID.String(), r.Store.Register(ctx, g)
}

func (r *registrar) Claim(_ context.Context, who []edition.Credential, owner edition.Owner) ([]edition.UAID, error) {
	if r.claim == nil {
		return nil, nil
	}
	return r.claim(who, owner)
}

func (r *registrar) Present(who []edition.Agent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.present = append(r.present, who...)
}

const (
	relayToken = "the-token-of-relay-r1"
	otherToken = "the-token-of-relay-r2"
)

// checkKick takes kicks of the drivers udp, and sms, whose routes wait for a
// code.
func checkKick(kick json.RawMessage, from netip.Addr, size int) (routes edition.Routes, err error) {
	list := []json.RawMessage{kick}
	if kick[0] == '[' {
		if err := json.Unmarshal(kick, &list); err != nil {
			return nil, fmt.Errorf("%w: kick", edition.ErrMalformed)
		}
	}
	for _, one := range list {
		var k struct{ Driver, Number string }
		if err := json.Unmarshal(one, &k); err != nil {
			return nil, fmt.Errorf("%w: kick", edition.ErrMalformed)
		}
		switch k.Driver {
		case "udp":
			routes = append(routes, edition.Route{Driver: "udp", Target: fmt.Appendf(nil, `{"from":"%s","size":%d}`, from, size)})
		case "sms":
			routes = append(routes, edition.Route{Driver: "sms", Target: fmt.Appendf(nil, "%q", k.Number), Confirm: testCode})
		default:
			return nil, fmt.Errorf("%w: no driver of that name", edition.ErrForbidden)
		}
	}
	return routes, nil
}

const testCode = "ABCD2345"

func options(st edition.Store) Options {
	return Options{
		Hub: hub.New(hub.Options{Store: st}), Store: st, Registrar: &registrar{Store: st},
		Relays: []Relay{
			{Name: "r1", Tokens: []string{relayToken}},
			{Name: "r2", Tokens: []string{otherToken}, Custody: wire.CustodyRelay, CertName: "r2.example"},
		},
		CheckKick: checkKick, Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler),
	}
}

// open starts a door on loopback.
func open(t testing.TB, adjust func(*Options)) *door {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openOn(t, l, new(net.Dialer).DialContext, adjust)
}

// openInMemory starts a door for a test with a clock of its own.
func openInMemory(t testing.TB, adjust func(*Options)) *door {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return openOn(t, l, l.dial, adjust)
}

func openOn(t testing.TB, l net.Listener, dial func(context.Context, string, string) (net.Conn, error), adjust func(*Options)) *door {
	o := options(mem.New(mem.Options{}))
	if adjust != nil {
		adjust(&o)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &door{
		Server: New(o), t: t, store: o.Store, url: "http://" + l.Addr().String(), dial: dial,
		http: &http.Client{Transport: &http.Transport{DialContext: dial}},
		stop: stop, ended: make(chan struct{}),
	}
	d.reg, _ = o.Registrar.(*registrar)
	d.serve = &http.Server{Handler: d.Server, ReadHeaderTimeout: 10 * time.Second}
	go d.serve.Serve(l) // ends with Close
	go func() {
		defer close(d.ended)
		d.Run(ctx) // is nil
	}()
	t.Cleanup(d.close)
	return d
}

// close ends the door; no goroutine is left.
func (d *door) close() {
	d.stop()
	<-d.ended
	d.http.CloseIdleConnections()
	d.serve.Close() // nothing to do about it
}

// deliver keeps one event and rings.
func (d *door) deliver(k edition.Key, v edition.Version) {
	d.t.Helper()
	res, err := d.hub.Deliver(edition.Update{{Key: k, Version: v}}, edition.Delivery{}).Wait(d.t.Context())
	if err != nil || res[0].Outcome == edition.OutcomeFailed {
		d.t.Fatal("deliver:", res, err)
	}
}

// state returns what GET on the endpoint would show.
func (d *door) state(k edition.Key) string {
	d.t.Helper()
	s, err := d.store.State(k)
	if err != nil {
		d.t.Fatal(err)
	}
	return s.State
}

func (d *door) wantState(k edition.Key, want string) {
	d.t.Helper()
	if got := d.state(k); got != want {
		d.t.Errorf("state = %s, want %s", got, want)
	}
}

// device is a registered one.
type device struct {
	edition.Key
	secret string
}

func newDevice() device {
	return device{Key: edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}, secret: edition.NewSecret()}
}

func (v device) proof() edition.Proof {
	p, err := edition.ProofOf(v.secret)
	if err != nil {
		panic(err)
	}
	return p
}

func (v device) claim() wire.Agent { return wire.Agent{UAID: v.UAID, Secret: v.secret} }

func (v device) behind() wire.Agent {
	p := v.proof()
	return wire.Agent{UAID: v.UAID, Proof: &p}
}

// registered makes a device with one app, at an owner.
func (d *door) registered(owner edition.Owner) device {
	d.t.Helper()
	v := newDevice()
	d.register(v, owner)
	return v
}

func (d *door) register(v device, owner edition.Owner) {
	d.t.Helper()
	err := d.store.Register(context.Background(), edition.Registration{Key: v.Key, Proof: v.proof(), Owner: owner})
	if err != nil {
		d.t.Fatal(err)
	}
}

// routes shows a party's routes: drivers, with a "?" where a code is waited for,
// and a "-" where one is gone.
func (d *door) routes(h edition.Holder) string {
	d.t.Helper()
	rs, err := d.store.Routes(h)
	if err != nil {
		d.t.Fatal(err)
	}
	text := make([]string, len(rs))
	for i, r := range rs {
		text[i] = r.Driver
		switch {
		case r.Target == nil:
			text[i] += "-"
		case r.Confirm != "":
			text[i] += "?"
		}
	}
	return strings.Join(text, " ")
}

// relay returns the number of a relay.
func (d *door) relay(name string) edition.Owner {
	d.t.Helper()
	n, err := d.store.Relay(context.Background(), name, "store-of-"+name)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// peerConn is the far end of a connection. A goroutine reads it, so that the
// server never waits for the test.
type peerConn struct {
	t   testing.TB
	ws  *websocket.Conn
	in  chan wire.Message
	end chan error // the error that reading ended with
}

// connect opens a WebSocket, as a relay if there is a token.
func (d *door) connect(token ...string) *peerConn {
	d.t.Helper()
	c, resp, err := d.tryConnect(token...)
	if err != nil {
		status := 0
		if resp != nil {
			status = resp.StatusCode
		}
		d.t.Fatal("connect:", status, err)
	}
	return c
}

func (d *door) tryConnect(token ...string) (*peerConn, *http.Response, error) {
	h := http.Header{}
	if len(token) > 0 {
		h.Set("Authorization", "Bearer "+token[0])
	}
	dialer := websocket.Dialer{NetDialContext: d.dial, Subprotocols: []string{wire.Subprotocol}}
	ws, resp, err := dialer.DialContext(d.t.Context(), "ws"+strings.TrimPrefix(d.url, "http")+wire.PathWebSocket, h)
	if err != nil {
		return nil, resp, err
	}
	c := &peerConn{t: d.t, ws: ws, in: make(chan wire.Message, 1<<15), end: make(chan error, 1)}
	d.t.Cleanup(func() { ws.Close() })
	go c.pump()
	return c, resp, nil
}

func (c *peerConn) pump() {
	defer close(c.in)
	for {
		_, b, err := c.ws.ReadMessage()
		if err != nil {
			c.end <- err
			return
		}
		var m wire.Message
		if err := wire.Decode(b, &m); err != nil {
			c.end <- fmt.Errorf("the server sent %q: %w", b, err)
			return
		}
		c.in <- m
	}
}

// say sends a message: a wire.Message, or text as it stands.
func (c *peerConn) say(m any) {
	c.t.Helper()
	var b []byte
	switch m := m.(type) {
	case string:
		b = []byte(m)
	case []byte:
		b = m
	default:
		var err error
		if b, err = json.Marshal(m); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.ws.WriteMessage(websocket.TextMessage, b); err != nil {
		c.t.Fatal("say:", err)
	}
}

const patient = 30 * time.Second

// hear returns the next message, which must be of a type.
func (c *peerConn) hear(kind string) wire.Message {
	c.t.Helper()
	select {
	case m, ok := <-c.in:
		if !ok {
			c.t.Fatalf("the connection ended (%v), want %s", <-c.end, kind)
		}
		if m.Type != kind {
			c.t.Fatalf("heard %.500s, want %s", fmt.Sprintf("%+v", m), kind)
		}
		return m
	case <-time.After(patient):
		c.t.Fatalf("heard nothing, want %s", kind)
	}
	panic("unreachable")
}

// barrier returns when all that was said before is done, and fails when
// something unexpected was heard meanwhile.
func (c *peerConn) barrier() {
	c.t.Helper()
	c.say(`{"type":"ping"}`)
	c.hear(wire.TypePong)
}

// closed returns how the server closed the connection.
func (c *peerConn) closed() *websocket.CloseError {
	c.t.Helper()
	select {
	case err := <-c.end:
		ce, ok := err.(*websocket.CloseError) //nolint:errorlint // gorilla returns it bare
		if !ok {
			c.t.Fatalf("the connection ended with %v, want a close frame", err)
		}
		return ce
	case <-time.After(patient):
		c.t.Fatal("the connection was not closed")
	}
	panic("unreachable")
}

func (c *peerConn) wantClosed(code int, text string) {
	c.t.Helper()
	if ce := c.closed(); ce.Code != code || !strings.Contains(ce.Text, text) {
		c.t.Errorf("closed with %d %q, want %d %q", ce.Code, ce.Text, code, text)
	}
}

// wantError hears an error.
func (c *peerConn) wantError(status int, of, detail string) {
	c.t.Helper()
	m := c.hear(wire.TypeError)
	if m.Status != status || m.Of != of || !strings.Contains(m.Detail, detail) {
		c.t.Errorf("error %d of %q: %q, want %d of %q: %q", m.Status, m.Of, m.Detail, status, of, detail)
	}
}

// hello claims devices, and wants all of them accepted.
func (c *peerConn) hello(devices ...device) {
	c.t.Helper()
	m := wire.Message{Type: wire.TypeHello}
	for _, v := range devices {
		m.Agents = append(m.Agents, v.claim())
	}
	c.say(m)
	if got := c.hear(wire.TypeHello); len(got.UAIDs) != len(devices) || len(got.Refused) != 0 {
		c.t.Fatalf("hello: %+v", got)
	}
}

// update hears an UPDATE and wants one event in it.
func (c *peerConn) update(k edition.Key, v edition.Version) wire.Message {
	c.t.Helper()
	m := c.hear(wire.TypeUpdate)
	if len(m.Updates) != 1 || m.Updates[0] != (edition.Event{Key: k, Version: v}) {
		c.t.Fatalf("update %v, want %v", m.Updates, v)
	}
	return m
}

// ack names versions.
func (c *peerConn) ack(u ...edition.Event) {
	c.t.Helper()
	c.say(wire.AppendAck(nil, false, u))
}

func event(v device, n edition.Version) edition.Event { return edition.Event{Key: v.Key, Version: n} }

// request does a REST request, and returns its status and body.
func (d *door) request(path, body string, token ...string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if len(token) > 0 {
		req.Header.Set("Authorization", "Bearer "+token[0])
	}
	resp, err := d.http.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// post is request with a value that is marshalled.
func (d *door) post(path string, v any, token ...string) (int, string) {
	d.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.request(path, string(b), token...)
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe.example" }
