package client

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience bounds what hangs. Nothing else is to depend on it.
const patience = 2 * time.Minute

// upstream is a scripted upstream: what it does on a WebSocket and to each
// REST request is given by the test. It speaks the wire over real sockets, or
// over pipes inside a synctest bubble.
type upstream struct {
	t   *testing.T
	ws  func(*peer)                                      // one connection; nil refuses the upgrade as HTML
	get http.HandlerFunc                                 // instead of ws: what the upgrade is answered with
	api map[string]func(http.ResponseWriter, []byte) any // by path; a nil answer is 204 unless one was written

	mu     sync.Mutex
	header []http.Header // Guarded by mu; of every request
	conns  sync.WaitGroup
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.header = append(u.header, r.Header.Clone())
	get := u.get
	u.mu.Unlock()
	switch {
	case r.URL.Path == wire.PathWebSocket && get != nil:
		get(w, r)
	case r.URL.Path == wire.PathWebSocket && u.ws == nil:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<html>blocked</html>")
	case r.URL.Path == wire.PathWebSocket:
		u.conns.Add(1) // the server itself waits for the handler until the upgrade
		defer u.conns.Done()
		up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		u.ws(&peer{t: u.t, conn: conn})
	default:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone in the middle of it
		}
		do := u.api[r.URL.Path]
		if do == nil {
			wire.WriteProblem(w, edition.ErrNotFound)
			return
		}
		once := &onceWriter{ResponseWriter: w}
		answer := do(once, body)
		if answer == nil {
			if !once.wrote {
				w.WriteHeader(http.StatusNoContent)
			}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == wire.PathRegister {
			w.WriteHeader(http.StatusCreated)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// onceWriter notes whether an answer was written.
type onceWriter struct {
	http.ResponseWriter
	wrote bool
}

func (w *onceWriter) WriteHeader(status int) { w.wrote = true; w.ResponseWriter.WriteHeader(status) }

func (w *onceWriter) Write(b []byte) (int, error) { w.wrote = true; return w.ResponseWriter.Write(b) }

// serve starts u on loopback and returns its URL.
func (u *upstream) serve(t *testing.T) string {
	t.Helper()
	u.t = t
	s := httptest.NewUnstartedServer(u)
	s.Config.ErrorLog = quiet()
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		u.conns.Wait()
	})
	return s.URL
}

// pipe serves u over pipes, for a synctest bubble, until ctx ends.
func (u *upstream) pipe(ctx context.Context, t *testing.T) (dial func(context.Context, string, string) (net.Conn, error)) {
	t.Helper()
	u.t = t
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: u}
	go s.Serve(l)
	context.AfterFunc(ctx, func() { _ = s.Close(); _ = l.Close() })
	return l.dial
}

// requests returns how many requests have come.
func (u *upstream) requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.header)
}

// token returns the Authorization of the first request.
func (u *upstream) token() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.header[0].Get("Authorization")
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// peer is upstream's end of one WebSocket.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
	mu   sync.Mutex // held while a message is written
}

// read returns the next message, or false when the client has gone.
func (p *peer) read() (wire.Message, bool) {
	var m wire.Message
	_, b, err := p.conn.ReadMessage()
	if err != nil {
		return m, false
	}
	if err := wire.Decode(b, &m); err != nil {
		p.t.Errorf("client sent %q: %v", b, err)
		return m, false
	}
	return m, true
}

func (p *peer) send(m wire.Message) {
	b, err := json.Marshal(m)
	if err != nil {
		p.t.Error(err)
	}
	p.write(b)
}

func (p *peer) write(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.conn.WriteMessage(websocket.TextMessage, b)
}

func (p *peer) update(id uint64, u edition.Update) {
	p.write(wire.AppendUpdate(nil, id, u))
}

func (p *peer) close(code int, text string) {
	p.sendClose(code, text)
	p.drain()
}

func (p *peer) sendClose(code int, text string) {
	_ = p.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(patience))
}

// hello answers a hello, accepting everybody but the refused.
func (p *peer) hello(refused ...edition.UAID) (wire.Message, bool) {
	m, ok := p.read()
	if !ok {
		return m, false
	}
	if m.Type != wire.TypeHello {
		p.t.Errorf("got %s, want a hello", m.Type)
	}
	p.send(helloAnswer(m, refused...))
	return m, true
}

func helloAnswer(m wire.Message, refused ...edition.UAID) wire.Message {
	a := wire.Message{Type: wire.TypeHello, Status: 200, UAIDs: []edition.UAID{}, Refused: []edition.UAID{}, Custody: m.Custody}
	for _, w := range m.Agents {
		if slices.Contains(refused, w.UAID) {
			a.Refused = append(a.Refused, w.UAID)
		} else {
			a.UAIDs = append(a.UAIDs, w.UAID)
		}
	}
	return a
}

// drain reads until the client has gone.
func (p *peer) drain() {
	for {
		if _, _, err := p.conn.ReadMessage(); err != nil {
			return
		}
	}
}

// run starts c and stops it at the end of the test.
func run(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// event makes an event of one of few devices and apps.
func event(device, app byte, v edition.Version) edition.Event {
	e := edition.Event{Version: v}
	e.UAID = testUAID(device)
	e.AppID = edition.AppID{6: 0x40, 8: 0x80, 15: app}
	return e
}

func testUAID(n byte) edition.UAID { return edition.UAID{6: 0x40, 8: 0x80, 15: n} }

// within fails the test when nothing comes; the bound is for a hung test only.
func within[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// eventually waits for a condition; the bound is for a hung test only.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func decode[T any](t *testing.T, body []byte) T {
	t.Helper()
	var v T
	if err := wire.DecodeJSON(strings.NewReader(string(body)), &v); err != nil {
		t.Errorf("body %s: %v", body, err)
	}
	return v
}

// quiet drops what net/http says about connections that a test spoils.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
