package session

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// peerConn is the far end of a connection. A goroutine reads it, so that the
// server never waits for the test.
type peerConn struct {
	t   testing.TB
	d   *door
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
	c := &peerConn{t: d.t, d: d, ws: ws, in: make(chan wire.Message, 1<<15), end: make(chan error, 1)}
	d.t.Cleanup(func() { ws.Close() })
	// The goroutine that reads must not wait for the server to read, which on a
	// connection without a buffer may wait for this one; nor for a time.
	ws.SetPingHandler(func(data string) error {
		go ws.WriteControl(websocket.PongMessage, []byte(data), time.Time{}) // may be closed
		return nil
	})
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

// patient is for what must come; nothing depends on how long it takes.
const patient = time.Minute

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

// ping returns when all that was said before has been taken, and fails when
// something else was heard meanwhile.
func (c *peerConn) ping() {
	c.t.Helper()
	c.say(`{"type":"ping"}`)
	c.hear(wire.TypePong)
}

// barrier returns when all that was said before is done, with all that comes of
// it, and fails when something unexpected was heard meanwhile.
func (c *peerConn) barrier() {
	c.t.Helper()
	c.ping()
	c.d.settled()
	c.ping()
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
