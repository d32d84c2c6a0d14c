package session

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func TestMalformedMessages(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	n := edition.Version(0)
	for _, tt := range []struct{ say, of, detail string }{
		{`{`, "", ""},
		{`[]`, "", ""},
		{`{"type":"ping"} {}`, "", ""},
		{`{"type":"pong"}`, "pong", "no such message type"},
		{`{"type":"update","id":1,"updates":{}}`, "update", "no such message type"},
		{`{"type":"` + strings.Repeat("x", 99) + `"}`, "", "no such message type"},
		{`{"status":1}`, "", `"type"`},
		{`{"type":"hello","agents":[{"uaid":"nobody","secret":""}]}`, "hello", "not a UUIDv4"},
		{`{"type":"hello","agents":[{"uaid":"` + v.UAID.String() + `","secret":"short"}]}`, "hello", "32 random bytes"},
		{`{"type":"ack"}`, "ack", "names updates"},
		{`{"type":"ack","updates":{"x":{}}}`, "ack", "not a UUIDv4"},
		{`{"type":"ack","state":"eaten","updates":{}}`, "ack", "neither"},
		{`{"type":"ack","updates":{"` + v.UAID.String() + `":{"` + v.AppID.String() + `":1e3}}}`, "ack", "decimal"},
	} {
		c := d.connect()
		c.hello(v)
		c.say(tt.say)
		c.wantError(400, tt.of, tt.detail)
		c.barrier() // stays open
		n++
		d.deliver(v.Key, n)
		c.update(v.Key, n)
		c.ack(event(v, n))
		c.barrier()
	}
}

func TestForbiddenMessages(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	c := d.connect()
	c.hello(v)
	for _, tt := range []struct{ say, of string }{
		{`{"type":"ack","state":"stored","updates":{"` + v.UAID.String() + `":{"` + v.AppID.String() + `":1}}}`, "ack"},
		{`{"type":"refuse","updates":{"` + v.UAID.String() + `":{"` + v.AppID.String() + `":1}}}`, "refuse"},
		{`{"type":"hello","relay":"r1"}`, "hello"},
		{`{"type":"hello","agents":[{"uaid":"` + v.UAID.String() + `","proof":"` + proofText(v) + `"}]}`, "hello"},
	} {
		c.say(tt.say)
		c.wantError(403, tt.of, "relay")
	}
}

func TestManyMalformedMessagesEndTheConnection(t *testing.T) {
	d := open(t, nil)
	c := d.connect()
	for range maxFaults {
		c.say(`{"type":`)
		c.wantError(400, "", "")
	}
	c.wantClosed(websocket.ClosePolicyViolation, "malformed")
}

func TestFramesThatEndTheConnection(t *testing.T) {
	d := open(t, nil)
	for _, tt := range []struct {
		name string
		kind int
		b    []byte
		code int
	}{
		{"binary", websocket.BinaryMessage, []byte(`{"type":"ping"}`), websocket.CloseUnsupportedData},
		{"not UTF-8", websocket.TextMessage, []byte("{\"type\":\"ping\",\"x\":\"\xff\"}"), websocket.CloseInvalidFramePayloadData},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := d.connect()
			if err := c.ws.WriteMessage(tt.kind, tt.b); err != nil {
				t.Fatal(err)
			}
			c.wantClosed(tt.code, "")
		})
	}
}

func TestMessageLimit(t *testing.T) {
	d := open(t, nil)
	pad := func(n int) string {
		const head, tail = `{"type":"ping","x":"`, `"}`
		return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
	}
	c := d.connect()
	c.say(pad(wire.MaxMessage))
	c.hear(wire.TypePong)
	c.say(pad(wire.MaxMessage + 1))
	c.wantError(413, "", "at most 65536 bytes")
	c.wantClosed(websocket.CloseMessageTooBig, "")

	r := d.connect(relayToken)
	r.say(pad(1 << 20))
	r.hear(wire.TypePong)
	r.say(pad(1<<20 + 1))
	r.wantError(413, "", "at most 1048576 bytes")
}

func TestMessageRate(t *testing.T) {
	d := open(t, func(o *Options) { o.Limits.Rate, o.Limits.Burst = 0.001, 10 })
	v := d.registered(edition.Direct)
	c := d.connect()
	c.hello(v)
	for i := range edition.Version(50) { // acks that answer an UPDATE are free
		d.deliver(v.Key, i)
		c.update(v.Key, i)
		c.ack(event(v, i))
	}
	for range 9 {
		c.ping()
	}
	c.say(`{"type":"ping"}`)
	c.wantError(429, "", "messages a second")
	c.wantClosed(websocket.ClosePolicyViolation, "messages a second")
}

func TestUpgradeRefused(t *testing.T) {
	d := open(t, nil)
	get := func(adjust func(http.Header)) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+wire.PathWebSocket, nil)
		if err != nil {
			t.Fatal(err)
		}
		if adjust != nil {
			adjust(req.Header)
		}
		resp, err := d.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if r := get(nil); r.StatusCode != 400 || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Error("no upgrade:", r.StatusCode, r.Header)
	}
	if r := get(func(h http.Header) { h.Set("Authorization", "Bearer wrong") }); r.StatusCode != 401 {
		t.Error("wrong token:", r.StatusCode)
	}
	if r := get(func(h http.Header) { h.Set("Authorization", "bearer ") }); r.StatusCode != 401 {
		t.Error("empty token:", r.StatusCode)
	}
	if _, resp, err := d.tryConnect("wrong"); err == nil || resp.StatusCode != 401 {
		t.Error("a wrong token was upgraded")
	}
	c, resp, err := d.tryConnect(relayToken)
	if err != nil || resp.Header.Get("Sec-WebSocket-Protocol") != wire.Subprotocol || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
		t.Error(err, resp.Header)
	}
	c.barrier()
}

// A fault of ours in one connection ends that one only.
func TestPanicEndsOneConnection(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	bystander := d.connect()
	bystander.hello(v)
	d.reg.claim = func([]edition.Credential, edition.Owner) ([]edition.UAID, error) { panic("a fault") }
	c := d.connect()
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{newDevice().claim()}})
	c.wantClosed(websocket.CloseInternalServerErr, "fault")
	r := d.connect(relayToken)
	r.say(wire.Message{Type: wire.TypeHello, Relay: "r1", Agents: []wire.Agent{newDevice().behind()}})
	r.wantClosed(websocket.CloseInternalServerErr, "fault")
	if status, _ := d.post(wire.PathUpdate, wire.UpdateRequest{Agents: []wire.Agent{newDevice().claim()}}); status != 500 {
		t.Error("REST:", status)
	}
	d.deliver(v.Key, 1)
	bystander.update(v.Key, 1)
}

// A store that fails under a flush is asked again.
func TestStoreFailsUnderAFlush(t *testing.T) {
	for _, what := range []string{"pending", "sent", "scan"} {
		for _, kind := range []string{"device", "relay"} {
			t.Run(kind+" "+what, func(t *testing.T) {
				var f *faulty
				d := open(t, func(o *Options) {
					f = &faulty{Store: o.Store}
					// Nobody can be woken, so nobody is idle: but the wheel looks
					// as often as if.
					o.Store, o.Limits.IdleClose = f, 100*time.Millisecond
				})
				var v device
				if kind == "relay" {
					v = d.registered(d.relay("r1"))
				} else {
					v = d.registered(edition.Direct)
				}
				d.deliver(v.Key, 1)
				f.failing.Store(&what)
				var c *peerConn
				if kind == "relay" {
					c = d.asRelay("r1", relayToken, wire.CustodyDevice)
				} else {
					c = d.connect()
					c.hello(v)
				}
				d.settled()
				f.failing.Store(nil)
				c.update(v.Key, 1)
				c.ack(event(v, 1))
				c.barrier()
				f.failing.Store(&what)
				d.deliver(v.Key, 2)
				d.settled()
				f.failing.Store(nil)
				c.update(v.Key, 2)
			})
		}
	}
}

// A WebSocket ping is answered.
func TestPing(t *testing.T) {
	d := open(t, nil)
	c := d.connect()
	pong := make(chan string, 1)
	c.ws.SetPongHandler(func(s string) error { pong <- s; return nil })
	if err := c.ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-pong:
		if s != "are you there" {
			t.Errorf("pong %q", s)
		}
	case <-time.After(patient):
		t.Error("no pong")
	}
}
