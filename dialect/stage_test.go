package dialect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/session"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// patient is for what must come; nothing depends on how long it takes.
const patient = time.Minute

// stage is a device door with the dialects, over a store, on a listener in
// memory or on loopback.
type stage struct {
	t     testing.TB
	store *mem.Store
	hub   *hub.Hub
	slots edition.SlotMaker
	url   string
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	reg   *registrar
	close func()
}

// registrar is a server's own, without sealed endpoints.
type registrar struct {
	*mem.Store

	mu   sync.Mutex
	away bool                  // who is above cannot be asked
	last edition.Registration  // the last one
	ours map[edition.UAID]bool // whom who is above proves
}

func (r *registrar) Register(ctx context.Context, g edition.Registration) (string, error) {
	r.mu.Lock()
	away := r.away
	r.last = g
	r.mu.Unlock()
	if away {
		return "", edition.RetryAfter(edition.ErrUnavailable, time.Second)
	}
	return "https://push.example/v1/e/" + g.AppID.String(), r.Store.Register(ctx, g)
}

func (r *registrar) Claim(_ context.Context, who []edition.Credential, _ edition.Owner) (all []edition.UAID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return nil, edition.ErrUnavailable
	}
	for _, c := range who {
		if r.ours[c.UAID] && c.Proof == edition.ProofOfUAID(c.UAID) {
			all = append(all, c.UAID)
		}
	}
	return all, nil
}

func (r *registrar) Present([]edition.Agent) {}

func (r *registrar) set(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// checkKick allows the network 214-07, the one called plant-4, and what names
// none.
func checkKick(kick json.RawMessage, from netip.Addr, _ int) (edition.Routes, error) {
	var k struct{ NetID, MCC, MNC string }
	if err := json.Unmarshal(kick, &k); err != nil {
		return nil, edition.ErrMalformed
	}
	if name := k.NetID + "/" + k.MCC + "-" + k.MNC; name != "/214-07" && name != "plant-4/-" && name != "/-" {
		return nil, fmt.Errorf("%w: no network %s (from %v)", edition.ErrForbidden, name, from)
	}
	return edition.Routes{{Driver: "udp", Target: kick}}, nil
}

func open(t testing.TB, l net.Listener, dial func(context.Context, string, string) (net.Conn, error), o dialect.Options, limits session.Limits) *stage {
	t.Helper()
	st := mem.New(mem.Options{})
	s := &stage{t: t, store: st, hub: hub.New(hub.Options{Store: st}), url: "ws://" + l.Addr().String() + "/", dial: dial}
	s.reg = &registrar{Store: st, ours: map[edition.UAID]bool{}}
	server := session.New(session.Options{
		Hub: s.hub, Store: st, Registrar: s.reg, CheckKick: checkKick,
		Wakeable: func(edition.Routes) bool { return true },
		Talk:     dialect.New(o), Limits: limits,
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	web := &http.Server{Handler: server, ReadHeaderTimeout: time.Hour}
	go web.Serve(l)
	go func() {
		defer close(ended)
		server.Run(ctx)
	}()
	s.close = sync.OnceFunc(func() {
		stop()
		<-ended
		web.Close()
	})
	t.Cleanup(s.close)
	return s
}

// onLoopback is for a test in which nothing may depend on how long anything
// takes.
func onLoopback(t testing.TB, o dialect.Options, limits session.Limits) *stage {
	t.Helper()
	limits.Hello, limits.Ping, limits.Write = time.Hour, time.Hour, time.Hour
	limits.AckTimeout, limits.AckTimeoutMax = time.Hour, time.Hour
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return open(t, l, new(net.Dialer).DialContext, o, limits)
}

// inMemory is for a test with a clock of its own.
func inMemory(t testing.TB, o dialect.Options, limits session.Limits) *stage {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return open(t, l, l.dial, o, limits)
}

// deliver keeps one event, with what it carries, and rings.
func (s *stage) deliver(e edition.Event, b *edition.Body) edition.Outcome {
	s.t.Helper()
	how := edition.Delivery{Make: b != nil && e.AppID.IsSlot()}
	if b != nil {
		how.Bodies = []*edition.Body{b}
	}
	res, err := s.hub.Deliver(edition.Update{e}, how).Wait(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return res[0].Outcome
}

// client is a device: what it hears is read by a goroutine of its own, so that
// the server never waits for the test.
type client struct {
	t   testing.TB
	ws  *websocket.Conn
	in  chan string
	end chan error
}

// connect opens a WebSocket, by default as SimplePush clients do.
func (s *stage) connect(protocols ...string) *client {
	s.t.Helper()
	if protocols == nil {
		protocols = []string{wire.SubprotocolSimplePush}
	}
	dialer := websocket.Dialer{NetDialContext: s.dial, Subprotocols: protocols}
	ws, resp, err := dialer.DialContext(s.t.Context(), s.url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	c := &client{t: s.t, ws: ws, in: make(chan string, 1<<14), end: make(chan error, 1)}
	s.t.Cleanup(func() { ws.Close() })
	// The goroutine that reads must not wait for the server to read, which on a
	// connection without a buffer may wait for this one; nor for a time.
	ws.SetPingHandler(func(data string) error {
		go ws.WriteControl(websocket.PongMessage, []byte(data), time.Time{}) // may be closed
		return nil
	})
	go func() {
		defer close(c.in)
		for {
			_, b, err := ws.ReadMessage()
			if err != nil {
				c.end <- err
				return
			}
			c.in <- string(b)
		}
	}()
	return c
}

func (c *client) say(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("say %.200s: %v", text, err)
	}
}

func (c *client) hear() string {
	c.t.Helper()
	select {
	case m, ok := <-c.in:
		if !ok {
			c.t.Fatalf("the connection ended: %v", <-c.end)
		}
		return m
	case <-time.After(patient):
		c.t.Fatal("heard nothing")
	}
	panic("unreachable")
}

// heard decodes the next message.
func (c *client) heard() map[string]any {
	c.t.Helper()
	var m map[string]any
	text := c.hear()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		c.t.Fatalf("heard %.200q: %v", text, err)
	}
	return m
}

// closed returns the code that the server closed with; nothing more may have
// been said.
func (c *client) closed() int {
	c.t.Helper()
	select {
	case m, ok := <-c.in:
		if ok {
			c.t.Fatalf("heard %.300s, want a close", m)
		}
	case <-time.After(patient):
		c.t.Fatal("the connection was not closed")
	}
	err := <-c.end
	ce, ok := err.(*websocket.CloseError) //nolint:errorlint // gorilla returns it bare
	if !ok {
		c.t.Fatalf("the connection ended with %v, want a close frame", err)
	}
	return ce.Code
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
	case p.conns <- from{far}:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// from gives a pipe the address of a device.
type from struct{ net.Conn }

func (from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 40000} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe.example" }

func compact(text string) string { return strings.Join(strings.Fields(text), "") }
