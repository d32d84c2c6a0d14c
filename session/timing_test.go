package session

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// turn is how late the wheel may be, with the default limits.
const turn = 10 * time.Second / 3

func within(t *testing.T, what string, took, want time.Duration) {
	t.Helper()
	if took < want-turn/wheelSlots || took > want+turn+time.Second {
		t.Errorf("%s after %v, want %v", what, took, want)
	}
}

func TestNoHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		start := time.Now()
		c := d.connect()
		c.barrier() // talk is no hello
		c.wantClosed(websocket.ClosePolicyViolation, "no hello within 10s")
		within(t, "closed", time.Since(start), 10*time.Second)
		d.close()
	})
}

func TestIdleConnectionsArePinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		v := d.registered(edition.Direct)
		start := time.Now()
		c := d.connect()
		pings := make(chan time.Duration, 100)
		c.ws.SetPingHandler(func(string) error {
			pings <- time.Since(start)
			return c.ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
		})
		c.hello(v)
		for i := range 3 {
			within(t, "ping", <-pings-time.Duration(i)*turn, time.Duration(i+1)*time.Minute)
		}
		d.deliver(v.Key, 1)
		c.update(v.Key, 1) // still there
		c.ws.Close()
		d.close()
	})
}

func TestSilentConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		v := d.registered(edition.Direct)
		start := time.Now()
		c := d.connect()
		c.ws.SetPingHandler(func(string) error { return nil }) // reads, but does not answer
		c.hello(v)
		<-c.end
		within(t, "ended", time.Since(start), 150*time.Second)
		synctest.Wait()
		if d.hub.Connected(edition.Holder{UAID: v.UAID}) {
			t.Error("still attached")
		}
		d.close()
	})
}

func TestResendAfterAckTimeout(t *testing.T) {
	for _, kind := range []string{"device", "relay"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := openInMemory(t, nil)
				var c *peerConn
				var v device
				if kind == "device" {
					v = d.registered(edition.Direct)
					c = d.connect()
					c.hello(v)
				} else {
					v = d.registered(d.relay("r1"))
					c = d.asRelay("r1", relayToken, wire.CustodyDevice)
				}
				d.deliver(v.Key, 1)
				first := c.update(v.Key, 1)
				d.deliver(v.Key, 2) // waits, and is what is sent again
				last := time.Now()
				for i, want := range []time.Duration{30, 60, 120, 240, 480, 600, 600} {
					m := hearLate(c)
					if m.Type != wire.TypeUpdate || m.Updates[0] != event(v, 2) || m.ID != first.ID+uint64(i)+1 {
						t.Fatalf("%+v", m)
					}
					within(t, "sent again", time.Since(last), want*time.Second)
					last = time.Now()
				}
				// A late ack of the first clears nothing; that of the last all.
				c.ack(event(v, 1))
				c.barrier()
				d.wantState(v.Key, edition.StatePending)
				c.ack(event(v, 2))
				c.barrier()
				d.wantState(v.Key, edition.StateDelivered)
				// And the timeout starts over.
				d.deliver(v.Key, 3)
				c.update(v.Key, 3)
				last = time.Now()
				hearLate(c)
				within(t, "sent again", time.Since(last), 30*time.Second)
				c.ws.Close()
				d.close()
			})
		})
	}
}

// hearLate is hear for what takes long.
func hearLate(c *peerConn) wire.Message { return <-c.in }

// An UPDATE that was acknowledged over REST is not sent again.
func TestAckByAnotherTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		v := d.registered(edition.Direct)
		c := d.connect()
		c.hello(v)
		d.deliver(v.Key, 1)
		c.update(v.Key, 1)
		if status, body := d.post(wire.PathAck, wire.AckRequest{Agents: []wire.Agent{v.claim()}, Updates: wire.Updates{event(v, 1)}}); status != 204 {
			t.Fatal(status, body)
		}
		d.wantState(v.Key, edition.StateDelivered)
		time.Sleep(time.Minute)
		c.barrier() // nothing came
		d.deliver(v.Key, 2)
		c.update(v.Key, 2)
		c.ws.Close()
		d.close()
	})
}

// A peer that does not read is cut off, and has cost one UPDATE's memory.
func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		v := d.registered(edition.Direct)
		dialer := websocket.Dialer{NetDialContext: d.dial}
		ws, _, err := dialer.DialContext(t.Context(), "ws://pipe.example"+wire.PathWebSocket, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := ws.WriteJSON(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for i := range edition.Version(1000) {
			d.deliver(v.Key, i)
		}
		for d.hub.Connected(edition.Holder{UAID: v.UAID}) {
			time.Sleep(100 * time.Millisecond)
		}
		within(t, "cut off", time.Since(start), 10*time.Second)
		ws.Close()
		d.close()
	})
}

func TestPeerThatDoesNotAnswerAClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		c := d.connect()
		c.ws.SetCloseHandler(func(int, string) error { return nil })
		if err := c.ws.WriteMessage(websocket.BinaryMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		c.wantClosed(websocket.CloseUnsupportedData, "")
		start := time.Now()
		<-d.wheel.none()
		within(t, "cut off", time.Since(start), linger)
		d.close()
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		const n = 20
		var conns []*peerConn
		for range n {
			c := d.connect()
			c.hello(d.registered(edition.Direct))
			conns = append(conns, c)
		}
		v := d.registered(edition.Direct)
		d.deliver(v.Key, 1)
		d.wantPoll(wire.UpdateRequest{Agents: []wire.Agent{v.claim()}}, event(v, 1))
		polled := make(chan int)
		w := d.registered(edition.Direct)
		go func() {
			status, _ := d.poll(wire.UpdateRequest{Agents: []wire.Agent{w.claim()}, Wait: "1m"})
			polled <- status
		}()
		synctest.Wait()

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		drained := make(chan time.Duration, 1)
		go func() {
			d.Drain(ctx)
			drained <- time.Since(start)
		}()
		if status := <-polled; status != 503 || time.Since(start) != 0 {
			t.Error("the long poll:", status, time.Since(start))
		}
		if _, resp, err := d.tryConnect(); err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Error("a new connection was taken")
		}
		if status, _ := d.poll(wire.UpdateRequest{Agents: []wire.Agent{v.claim()}}); status != 503 {
			t.Error("a new poll:", status)
		}
		if status, _ := d.post(wire.PathAck, wire.AckRequest{Agents: []wire.Agent{v.claim()}, Updates: wire.Updates{event(v, 1)}}); status != 204 {
			t.Error("an ack:", status) // what was seen is taken to the end
		}
		waits := map[string]int{}
		for _, c := range conns {
			ce := c.closed()
			if s, err := strconv.Atoi(ce.Text); ce.Code != wire.CloseRestart || err != nil || s < 1 || s > 10 {
				t.Errorf("closed with %d %q", ce.Code, ce.Text)
			}
			waits[ce.Text]++
		}
		if len(waits) < 3 {
			t.Error("all come back at once:", waits)
		}
		took := <-drained
		if took < 7*time.Second || took > 10*time.Second {
			t.Error("drained after", took)
		}
		d.close()
	})
}

// Closes are spread over the time there is.
func TestDrainIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		const n = 16
		ends := make(chan time.Duration, n)
		start := time.Now()
		for range n {
			c := d.connect()
			c.hello()
			go func() {
				<-c.end
				ends <- time.Since(start)
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		d.Drain(ctx)
		var last time.Duration
		for i := range n {
			at := <-ends
			if i > 0 && (at-last < 400*time.Millisecond || at-last > 600*time.Millisecond) {
				t.Errorf("a close %v after the one before", at-last)
			}
			last = at
		}
		d.close()
	})
}

// Run's end cuts off what is left, and leaves no goroutine.
func TestRunEnds(t *testing.T) {
	d := open(t, nil)
	var conns []*peerConn
	for range 50 {
		c := d.connect()
		c.hello(d.registered(edition.Direct))
		conns = append(conns, c)
	}
	d.stop()
	<-d.ended
	for _, c := range conns {
		<-c.end
	}
	if _, _, err := d.tryConnect(); err == nil {
		t.Error("a connection after the end")
	}
}

// Run's end does not wait for a peer that was told to close and does not.
func TestRunEndsBeforeACloseIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		c := d.connect()
		c.ws.SetCloseHandler(func(int, string) error { return nil })
		c.hello()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		d.Drain(ctx)
		c.wantClosed(wire.CloseRestart, "")
		start := time.Now()
		d.stop()
		<-d.ended
		if took := time.Since(start); took > time.Second {
			t.Error("ended after", took)
		}
		d.close()
	})
}
