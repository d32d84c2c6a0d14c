package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func TestHelloUpdateAck(t *testing.T) {
	acks := make(chan wire.Message, 10)
	hello := make(chan wire.Message, 1)
	sent := edition.Update{event(1, 1, 7), event(1, 2, 8), event(2, 1, edition.MaxVersion)}
	up := &upstream{ws: func(p *peer) {
		m, _ := p.hello()
		hello <- m
		p.update(1, sent)
		for range 4 {
			m, ok := p.read()
			if !ok {
				return
			}
			if m.Type == wire.TypePing {
				p.send(wire.Message{Type: wire.TypePong})
				continue
			}
			acks <- m
		}
		p.drain()
	}}
	got := make(chan edition.Update, 1)
	cfg := Config{
		URL: up.serve(t), Mode: ModeWebSocket, Relay: "north", Token: "tok", StoreID: "id", Custody: wire.CustodyRelay,
		Update: func(u edition.Update, _ []*edition.Body, done func()) {
			got <- append(edition.Update(nil), u...)
			done()
		},
	}
	c := newClient(t, cfg)
	run(t, c)

	if m := within(t, hello, "hello"); m.Relay != "north" || m.Store != "id" || m.Custody != wire.CustodyRelay || len(m.Agents) != 0 {
		t.Errorf("hello %+v", m)
	}
	if a := up.token(); a != "Bearer tok" {
		t.Errorf("Authorization %q", a)
	}
	u := within(t, got, "update")
	if fmt.Sprint(u) != fmt.Sprint(sent) {
		t.Errorf("update %v, want %v", u, sent)
	}
	if err := errors.Join(c.AckStored(u), c.Ack(u[:1]), c.Refuse(u[2:])); err != nil {
		t.Fatal(err)
	}
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The barrier is behind the acks: they are all there.
	for i, want := range []struct {
		typ, state string
		n          int
	}{{wire.TypeAck, wire.AckStored, 3}, {wire.TypeAck, "", 1}, {wire.TypeRefuse, "", 1}} {
		if len(acks) == 0 {
			t.Fatalf("no report %d before the pong", i)
		}
		if m := <-acks; m.Type != want.typ || m.State != want.state || len(m.Updates) != want.n {
			t.Errorf("report %d: %+v", i, m)
		}
	}
	if s := c.State(); !s.Connected || s.Transport != TransportWebSocket || s.Custody != wire.CustodyRelay {
		t.Errorf("state %+v", s)
	}
}

func TestAckInParts(t *testing.T) {
	sizes := make(chan int, 10)
	up := &upstream{ws: func(p *peer) {
		p.hello()
		for {
			m, ok := p.read()
			if !ok {
				return
			}
			sizes <- len(m.Updates)
		}
	}}
	c := newClient(t, Config{URL: up.serve(t)})
	run(t, c)
	eventually(t, "connected", func() bool { return c.State().Connected })
	var u edition.Update
	for range 1500 {
		u = append(u, edition.Event{Key: edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}, Version: edition.MaxVersion})
	}
	u = u.Normalize()
	if b := wire.AppendAck(nil, true, u[:ackEvents]); len(b) > wire.MaxMessage {
		t.Errorf("an ack of %d events has %d bytes", ackEvents, len(b))
	}
	if err := c.Ack(u); err != nil {
		t.Fatal(err)
	}
	for sum := 0; sum < len(u); {
		n := within(t, sizes, "ack")
		if n > ackEvents {
			t.Errorf("an ack of %d events", n)
		}
		sum += n
	}
}

// TestCallsOutOfOrder has many registrations on their way at once; upstream
// answers in another order and refuses some.
func TestCallsOutOfOrder(t *testing.T) {
	const n = 40
	up := &upstream{ws: func(p *peer) {
		p.hello()
		var asked []wire.Message
		for range n {
			m, ok := p.read()
			if !ok {
				return
			}
			asked = append(asked, m)
		}
		for i := n - 1; i >= 0; i-- {
			m := asked[i]
			a := wire.Message{Type: wire.TypeRegister, Status: 201, UAID: m.UAID, AppID: m.AppID, Endpoint: "http://x/" + m.UAID.String()}
			if m.UAID[15]%3 == 0 {
				a = wire.ErrorMessage(fmt.Errorf("%w: %d", edition.ErrForbidden, m.UAID[15]), wire.TypeRegister)
				a.UAID, a.AppID = m.UAID, m.AppID
			}
			p.send(a)
		}
		p.drain()
	}}
	c := newClient(t, Config{URL: up.serve(t), Mode: ModeWebSocket})
	run(t, c)
	eventually(t, "connected", func() bool { return c.State().Connected })
	var calls sync.WaitGroup
	for i := range byte(n) {
		calls.Go(func() {
			who := wire.Agent{UAID: testUAID(i), Secret: edition.NewSecret()}
			endpoint, err := c.Register(t.Context(), who, edition.NewAppID(), nil)
			switch {
			case i%3 == 0 && (!errors.Is(err, edition.ErrForbidden) || !strings.Contains(err.Error(), fmt.Sprint(i))):
				t.Errorf("device %d: %v", i, err)
			case i%3 != 0 && endpoint != "http://x/"+who.UAID.String():
				t.Errorf("device %d: %q %v", i, endpoint, err)
			}
		})
	}
	calls.Wait()
}

// TestLateHelloAnswer has one hello time out; its answer must not be taken for
// the next one's, which would accept somebody whom upstream refused.
func TestLateHelloAnswer(t *testing.T) {
	again := make(chan struct{})
	up := &upstream{ws: func(p *peer) {
		p.hello()
		first, _ := p.read()
		<-again
		second, _ := p.read()
		p.send(helloAnswer(first))
		p.send(helloAnswer(second, second.Agents[0].UAID))
		p.drain()
	}}
	c := newClient(t, Config{URL: up.serve(t), Relay: "r"})
	run(t, c)
	eventually(t, "connected", func() bool { return c.State().Connected })
	agents := []wire.Agent{{UAID: testUAID(1)}}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := c.Hello(short, agents); ReasonOf(err) != ReasonTimeout || !errors.Is(err, edition.ErrUnavailable) {
		t.Fatalf("first hello: %v", err)
	}
	close(again)
	accepted, refused, err := c.Hello(t.Context(), agents)
	if err != nil || len(accepted) != 0 || len(refused) != 1 {
		t.Errorf("accepted %v, refused %v, err %v", accepted, refused, err)
	}
}

// TestOffline says that calls fail at once, and for whom, while there is no
// connection.
func TestOffline(t *testing.T) {
	up := &upstream{get: func(w http.ResponseWriter, _ *http.Request) {
		wire.WriteProblem(w, fmt.Errorf("%w: the bearer token is not a relay's", edition.ErrUnauthorized))
	}}
	c := newClient(t, Config{URL: up.serve(t), Relay: "r"})
	if _, err := c.Register(t.Context(), wire.Agent{}, edition.AppID{}, nil); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("before Run: %v", err)
	}
	run(t, c)
	eventually(t, "a refusal", func() bool { return c.State().Err != nil })
	if err := c.State().Err; !errors.Is(err, edition.ErrUnauthorized) || ReasonOf(err) != ReasonRefused {
		t.Errorf("state: %v", err)
	}
	_, err := c.Register(t.Context(), wire.Agent{}, edition.AppID{}, nil)
	if !errors.Is(err, edition.ErrUnavailable) || errors.Is(err, edition.ErrUnauthorized) {
		t.Errorf("a caller is told %v: the connection's fault is not theirs", err)
	}
	if wire.Status(err) != 503 || !strings.Contains(err.Error(), "bearer token") {
		t.Errorf("%d %v", wire.Status(err), err)
	}
}

// TestEnds has upstream end a connection in every way, and looks at the reason.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		ws   func(*peer)
		want Reason
	}{
		{"restart", func(p *peer) { p.hello(); p.close(wire.CloseRestart, "3") }, ReasonRestart},
		{"replaced", func(p *peer) { p.hello(); p.close(wire.CloseReplaced, "") }, ReasonReplaced},
		{"going away", func(p *peer) { p.hello(); p.close(websocket.CloseGoingAway, "") }, ReasonClosed},
		{"cut", func(p *peer) { p.hello(); p.conn.Close() }, ReasonClosed},
		{"no JSON", func(p *peer) { p.hello(); _ = p.conn.WriteMessage(websocket.TextMessage, []byte("hi")); p.drain() }, ReasonProtocol},
		{"bad uaid", func(p *peer) {
			p.hello()
			_ = p.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"update","id":1,"updates":{"x":{}}}`))
			p.drain()
		}, ReasonProtocol},
		{"binary", func(p *peer) { p.hello(); _ = p.conn.WriteMessage(websocket.BinaryMessage, []byte("{}")); p.drain() }, ReasonProtocol},
		{"too large", func(p *peer) {
			p.hello()
			_ = p.conn.WriteMessage(websocket.TextMessage, make([]byte, maxAnswer+1))
			p.drain()
		}, ReasonTooLarge},
		{"hello refused", func(p *peer) {
			p.read()
			p.send(wire.ErrorMessage(fmt.Errorf("%w: not you", edition.ErrForbidden), wire.TypeHello))
			p.drain()
		}, ReasonRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := &upstream{ws: c.ws}
			metrics := NewMetrics(nil)
			cl := newClient(t, Config{URL: up.serve(t), Mode: ModeWebSocket, Metrics: metrics})
			run(t, cl)
			eventually(t, "an end", func() bool { return cl.State().Err != nil })
			if err := cl.State().Err; ReasonOf(err) != c.want {
				t.Errorf("reason %q, want %q: %v", ReasonOf(err), c.want, err)
			}
			eventually(t, "a count", func() bool { return count(metrics.faults.WithLabelValues(string(c.want))) > 0 })
		})
	}
}

// TestHalfOpen has upstream fall silent without a word: it is pinged after one
// heartbeat and given up after two, and the client connects again.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var mu sync.Mutex
		var pinged, conns []time.Duration
		start := time.Now()
		silent := true
		up := &upstream{ws: func(p *peer) {
			mu.Lock()
			conns = append(conns, time.Since(start))
			mu.Unlock()
			p.hello()
			p.conn.SetPingHandler(func(string) error {
				mu.Lock()
				defer mu.Unlock()
				pinged = append(pinged, time.Since(start))
				if silent {
					return nil
				}
				return p.conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
			})
			p.drain()
			mu.Lock()
			silent = false
			mu.Unlock()
		}}
		c := newClient(t, Config{URL: "http://upstream.test", Proxy: ProxyDirect, Dial: up.pipe(ctx, t), Mode: ModeWebSocket})
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()

		time.Sleep(2*DefaultHeartbeat + 5*time.Second)
		synctest.Wait()
		mu.Lock()
		if len(pinged) != 1 || pinged[0] != DefaultHeartbeat || len(conns) != 2 {
			t.Errorf("pinged at %v, connected at %v", pinged, conns)
		}
		if err := c.State().Err; ReasonOf(err) != ReasonTimeout {
			t.Errorf("reason %v", err)
		}
		mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		mu.Lock()
		if len(conns) != 2 || len(pinged) < 60 {
			t.Errorf("an answered ping keeps the connection: connected at %v, %d pings", conns, len(pinged))
		}
		mu.Unlock()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}
