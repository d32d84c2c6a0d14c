package session

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// asked is what a call of Server.Wake came to.
type asked struct {
	res wire.WakeResult
	err error
}

// wake asks relay r1 in the background.
func (d *door) wake(ctx context.Context, req wire.WakeRequest) chan asked {
	done := make(chan asked, 1)
	go func() {
		res, err := d.Wake(ctx, "r1", req)
		done <- asked{res, err}
	}()
	return done
}

func (d *door) link() *peerConn {
	d.t.Helper()
	c := d.connect(relayToken)
	c.say(wire.Message{Type: wire.TypeHello, Relay: "r1", Store: "store-of-r1"})
	c.hear(wire.TypeHello)
	return c
}

func TestWakeOverWebSocket(t *testing.T) {
	d := open(t, nil)
	c := d.link()
	uaid := edition.NewUAID()
	first := d.wake(t.Context(), wire.WakeRequest{UAID: &uaid})
	m := c.hear(wire.TypeWake)
	if m.ID == 0 || m.Wake == nil || *m.Wake.UAID != uaid {
		t.Fatalf("%+v", m)
	}
	second := d.wake(t.Context(), wire.WakeRequest{Kick: json.RawMessage(`{"driver":"udp","port":1}`)})
	n := c.hear(wire.TypeWake)
	if n.ID == m.ID || string(n.Wake.Kick) != `{"driver":"udp","port":1}` {
		t.Fatalf("%+v", n)
	}
	// Answers may come in any order, once, and are kept within bounds.
	c.say(wire.Message{Type: wire.TypeWoken, ID: n.ID, Woken: &wire.WakeResult{Outcome: "sent", Driver: "udp"}})
	c.say(wire.Message{Type: wire.TypeWoken, ID: m.ID, Woken: &wire.WakeResult{
		Outcome: "refused", Detail: strings.Repeat("x", 10_000), RetryAfter: 1 << 40,
	}})
	c.say(wire.Message{Type: wire.TypeWoken, ID: m.ID, Woken: &wire.WakeResult{Outcome: "sent"}})
	if a := <-second; a.err != nil || a.res != (wire.WakeResult{Outcome: "sent", Driver: "udp"}) {
		t.Errorf("%+v", a)
	}
	if a := <-first; a.err != nil || a.res.Outcome != "refused" || len(a.res.Detail) != maxDetail || a.res.RetryAfter != maxRetryAfter {
		t.Errorf("%+v", a)
	}
	c.say(`{"type":"woken","id":1}`)
	c.wantError(400, wire.TypeWoken, "names an id")
	c.barrier()

	if _, err := d.Wake(t.Context(), "r9", wire.WakeRequest{}); !errors.Is(err, edition.ErrNotFound) {
		t.Error("a relay that nobody knows:", err)
	}
	if _, err := d.Wake(t.Context(), "r2", wire.WakeRequest{}); !errors.Is(err, edition.ErrUnavailable) {
		t.Error("a relay that is not connected:", err)
	}
	if _, err := d.Wake(t.Context(), "r1", wire.WakeRequest{Kick: json.RawMessage(`{`)}); !errors.Is(err, edition.ErrMalformed) {
		t.Error("a kick that is no JSON:", err)
	}
}

// Who waits for a relay whose connection ends is told so at once.
func TestWakeAndTheConnectionEnds(t *testing.T) {
	d := open(t, nil)
	c := d.link()
	lost := d.wake(t.Context(), wire.WakeRequest{})
	m := c.hear(wire.TypeWake)
	c.ws.Close()
	if a := <-lost; !errors.Is(a.err, edition.ErrUnavailable) {
		t.Errorf("%+v", a)
	}
	if _, err := d.Wake(t.Context(), "r1", wire.WakeRequest{}); !errors.Is(err, edition.ErrUnavailable) {
		t.Error(err)
	}
	// The newest connection has it, and an older one's end takes nothing away.
	old := d.link()
	c = d.link()
	old.wantClosed(wire.CloseReplaced, "newer")
	again := d.wake(t.Context(), wire.WakeRequest{})
	n := c.hear(wire.TypeWake)
	if n.ID == m.ID {
		t.Error("a number was used twice")
	}
	c.say(wire.Message{Type: wire.TypeWoken, ID: n.ID, Woken: &wire.WakeResult{Outcome: "sent"}})
	if a := <-again; a.err != nil {
		t.Error(a.err)
	}
}

func TestWakeByPoll(t *testing.T) {
	for name, answer := range map[string]func(d *door, w wire.Woken) (int, string){
		"ack": func(d *door, w wire.Woken) (int, string) {
			return d.post(wire.PathAck, wire.AckRequest{Relay: "r1", Woken: []wire.Woken{w}}, relayToken)
		},
		"poll": func(d *door, w wire.Woken) (int, string) {
			return d.post(wire.PathUpdate, wire.UpdateRequest{Relay: "r1", Woken: []wire.Woken{w}}, relayToken)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			if _, err := d.Wake(t.Context(), "r1", wire.WakeRequest{}); !errors.Is(err, edition.ErrUnavailable) {
				t.Fatal("a relay that has never polled:", err)
			}
			owner := d.relay("r1")
			// Once while a poll waits, once between two polls.
			for _, wait := range []string{"30s", ""} {
				bodies := make(chan string, 1)
				ask := func() {
					_, body := d.post(wire.PathUpdate, wire.UpdateRequest{Relay: "r1", Wait: wait}, relayToken)
					bodies <- body
				}
				if wait == "" {
					ask()
					<-bodies
				} else {
					go ask()
					d.eventually("the poll waits", func() bool { return d.hub.Connected(edition.Holder{Owner: owner}) })
				}
				uaid := edition.NewUAID()
				done := d.wake(t.Context(), wire.WakeRequest{UAID: &uaid})
				if wait == "" {
					d.eventually("it waits for a poll", d.roster.Load().members[0].peer.calls.queued)
					ask()
				}
				var resp wire.UpdateResponse
				if err := json.Unmarshal([]byte(<-bodies), &resp); err != nil || len(resp.Wakes) != 1 || *resp.Wakes[0].Wake.UAID != uaid {
					t.Fatalf("%+v, %v", resp, err)
				}
				if status, body := answer(d, wire.Woken{ID: resp.Wakes[0].ID, Woken: wire.WakeResult{Outcome: "sent"}}); status != 204 {
					t.Error(status, body)
				}
				if a := <-done; a.err != nil || a.res.Outcome != "sent" {
					t.Errorf("%+v", a)
				}
			}
		})
	}
}

// What no poll has come for goes over the WebSocket that the relay makes.
func TestWakeMovesToTheWebSocket(t *testing.T) {
	d := open(t, nil)
	d.request(wire.PathUpdate, `{"relay":"r1"}`, relayToken)
	done := d.wake(t.Context(), wire.WakeRequest{})
	d.eventually("it waits for a poll", d.roster.Load().members[0].peer.calls.queued)
	c := d.connect(relayToken)
	c.say(wire.Message{Type: wire.TypeHello, Relay: "r1", Store: "store-of-r1"})
	m := <-c.in
	if m.Type == wire.TypeHello { // either may be first
		m = c.hear(wire.TypeWake)
	} else {
		c.hear(wire.TypeHello)
	}
	c.say(wire.Message{Type: wire.TypeWoken, ID: m.ID, Woken: &wire.WakeResult{Outcome: "gone"}})
	if a := <-done; a.err != nil || a.res.Outcome != "gone" {
		t.Errorf("%+v", a)
	}
}

func TestWakeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		c := d.link()
		start := time.Now()
		var calls []chan asked
		for range maxWaking {
			calls = append(calls, d.wake(context.Background(), wire.WakeRequest{}))
		}
		for range maxWaking {
			c.hear(wire.TypeWake)
		}
		if _, err := d.Wake(context.Background(), "r1", wire.WakeRequest{}); !errors.Is(err, edition.ErrTooMany) {
			t.Error("one too many:", err)
		}
		// A caller that leaves makes room; the others wait as long as is allowed.
		for _, call := range calls {
			if a := <-call; !errors.Is(a.err, edition.ErrUnavailable) {
				t.Errorf("%+v", a)
			}
		}
		if took := time.Since(start); took != wire.MaxWake {
			t.Error("given up after", took)
		}
		ctx, cancel := context.WithCancel(context.Background())
		call := d.wake(ctx, wire.WakeRequest{})
		c.hear(wire.TypeWake)
		cancel()
		if a := <-call; !errors.Is(a.err, edition.ErrUnavailable) || !errors.Is(a.err, context.Canceled) {
			t.Errorf("%+v", a)
		}
		c.ws.Close()
		d.close()
	})
}

// A relay that has stopped polling is soon taken to be away.
func TestWakeAfterTheLastPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		d.request(wire.PathUpdate, `{"relay":"r1"}`, relayToken)
		start := time.Now()
		if a := <-d.wake(t.Context(), wire.WakeRequest{}); !errors.Is(a.err, edition.ErrUnavailable) || time.Since(start) != wire.MaxWake {
			t.Error("not waited for:", a.err, time.Since(start))
		}
		time.Sleep(pollGrace)
		start = time.Now()
		if a := <-d.wake(t.Context(), wire.WakeRequest{}); !errors.Is(a.err, edition.ErrUnavailable) || time.Since(start) != 0 {
			t.Error("waited for:", a.err, time.Since(start))
		}
		if d.roster.Load().members[0].peer.calls.queued() {
			t.Error("what nobody waits for is still there")
		}
		d.http.CloseIdleConnections()
		d.close()
	})
}

// A device is never asked, and may not answer.
func TestDevicesAreNotAsked(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	c := d.connect()
	c.hello(v)
	c.say(`{"type":"woken","id":1,"woken":{"outcome":"sent"}}`)
	c.wantError(403, wire.TypeWoken, "only a relay")
	c.say(`{"type":"wake","id":1,"wake":{}}`)
	c.wantError(400, wire.TypeWake, "no such message type")
	r := d.connect(relayToken)
	r.say(`{"type":"woken","id":1,"woken":{"outcome":"sent"}}`)
	r.wantError(409, wire.TypeWoken, "first says its name")
	for path, body := range map[string]string{
		wire.PathAck:    `{"agents":[` + claimText(v) + `],"woken":[{"id":1,"woken":{"outcome":"sent"}}]}`,
		wire.PathUpdate: `{"agents":[` + claimText(v) + `],"woken":[{"id":1,"woken":{"outcome":"sent"}}]}`,
	} {
		if status, text := d.request(path, body); status != 403 {
			t.Error(path, status, text)
		}
	}
}

func claimText(v device) string {
	b, _ := json.Marshal(v.claim())
	return string(b)
}

// Calls, answers, reconnects and polls at once lose no answer's caller.
func TestWakeRace(t *testing.T) {
	d := open(t, nil)
	stop := make(chan struct{})
	var relays sync.WaitGroup
	for range 2 {
		relays.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, _, err := d.tryConnect(relayToken)
				if err != nil {
					continue // the door closes
				}
				_ = c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"hello","relay":"r1","store":"store-of-r1"}`)) // the door may have closed
				for i := 0; i < 5; {
					m, ok := <-c.in
					if !ok {
						break
					}
					if m.Type == wire.TypeWake {
						i++
						b, _ := json.Marshal(wire.Message{Type: wire.TypeWoken, ID: m.ID, Woken: &wire.WakeResult{Outcome: "sent"}})
						_ = c.ws.WriteMessage(websocket.TextMessage, b)
					} else {
						select {
						case <-stop:
							i = 5
						default:
						}
					}
				}
				c.ws.Close()
			}
		})
	}
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for answered := 0; answered < 20; {
				res, err := d.Wake(t.Context(), "r1", wire.WakeRequest{})
				switch {
				case err == nil && res.Outcome == "sent":
					answered++
				case !errors.Is(err, edition.ErrUnavailable):
					t.Error(res, err)
					return
				default:
					time.Sleep(time.Millisecond) // no relay is connected just now
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	d.close() // ends those who wait for a message
	relays.Wait()
	if n := len(d.roster.Load().members[0].peer.calls.under); n != 0 {
		t.Errorf("%d calls are left", n)
	}
}
