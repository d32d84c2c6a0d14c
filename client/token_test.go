package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// shown returns the tokens of all requests, in order, each once in a row.
func (u *upstream) shown() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var list []string
	for _, h := range u.header {
		token := strings.TrimPrefix(h.Get("Authorization"), "Bearer ")
		if len(list) == 0 || list[len(list)-1] != token {
			list = append(list, token)
		}
	}
	return strings.Join(list, " ")
}

// TestTokenIsExchanged keeps the connection that there is, and shows another
// token on the next one.
func TestTokenIsExchanged(t *testing.T) {
	connected := make(chan *peer, 10)
	up := &upstream{t: t, ws: func(p *peer) {
		p.hello()
		connected <- p
		p.drain()
	}}
	var taken atomic.Value // the token
	taken.Store("old")
	refused := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+taken.Load().(string) {
			wire.WriteProblem(w, edition.ErrUnauthorized)
			refused <- struct{}{}
			return
		}
		up.ServeHTTP(w, r)
	}))
	defer s.Close()
	c := newClient(t, Config{URL: s.URL, Mode: ModeWebSocket, Relay: "r", Token: "old", RetryMax: time.Second})
	run(t, c)
	first := within(t, connected, "the first connection")
	taken.Store("new")
	first.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(wire.CloseUnauthorized, "counts no more"), time.Time{})
	eventually(t, "the connection has ended", func() bool { return c.State().Err != nil })
	if err := c.State().Err; ReasonOf(err) != ReasonRefused || !errors.Is(err, edition.ErrUnauthorized) {
		t.Errorf("it was told %v", err)
	}
	within(t, refused, "the old token")
	c.SetToken("new")
	within(t, connected, "a connection with the new token")
	eventually(t, "the client knows", func() bool { return c.State().Connected })
	since := c.State().Since
	c.SetToken("newer")
	if err := c.Ack(edition.Update{event(1, 1, 1)}); err != nil {
		t.Error(err)
	}
	if s := c.State(); !s.Connected || s.Since != since {
		t.Errorf("a token that comes later ends a good connection: %+v", s)
	}
	if len(connected) > 0 {
		t.Error("there is another connection")
	}
}

// TestTokenOfPolls shows the new token with the next request.
func TestTokenOfPolls(t *testing.T) {
	up := &upstream{api: map[string]func(http.ResponseWriter, []byte) any{
		wire.PathUpdate: func(http.ResponseWriter, []byte) any { return nil },
	}}
	c := newClient(t, Config{URL: up.serve(t), Mode: ModePoll, Relay: "r", Token: "old", Interval: time.Millisecond})
	run(t, c)
	eventually(t, "a poll", func() bool { return up.requests() > 0 })
	c.SetToken("new")
	eventually(t, "a poll with the new token", func() bool { return strings.HasSuffix(up.shown(), "new") })
	if up.shown() != "old new" {
		t.Errorf("shown: %s", up.shown())
	}
}

// TestTokenOfNobody shows no header when there is no token.
func TestTokenOfNobody(t *testing.T) {
	up := &upstream{ws: func(p *peer) {
		p.hello()
		p.drain()
	}}
	c := newClient(t, Config{URL: up.serve(t), Mode: ModeWebSocket, Relay: "r", Token: "old"})
	c.SetToken("")
	run(t, c)
	eventually(t, "a connection", func() bool { return c.State().Connected })
	up.mu.Lock()
	defer up.mu.Unlock()
	if _, there := up.header[0]["Authorization"]; there {
		t.Error("an empty token was shown")
	}
}
