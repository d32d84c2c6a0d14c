package session

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func TestFrameSizes(t *testing.T) {
	for n, head := range map[int][]byte{
		0:         {0x81, 0},
		125:       {0x81, 125},
		126:       {0x81, 126, 0, 126},
		1<<16 - 1: {0x81, 126, 0xff, 0xff},
		1 << 16:   {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0},
	} {
		f := newFrame()
		f.b = append(f.b, make([]byte, n)...)
		if b := f.finish(websocket.TextMessage); !bytes.HasPrefix(b, head) || len(b) != len(head)+n {
			t.Errorf("%d bytes: % x…, %d in all", n, b[:min(10, len(b))], len(b))
		}
	}
}

// narrow is a listener whose connections have small send buffers.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}
	return c, err
}

// narrowly opens a door to connections with small buffers.
func narrowly(t *testing.T, write time.Duration) *door {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return c, err
	}
	return openOn(t, narrow{l}, dial, func(o *Options) {
		o.Limits = unhurried
		o.Limits.Write, o.Limits.Rate = write, -1
	})
}

// What does not fit into the socket's buffer: a peer that reads slowly gets it
// whole.
func TestSmallSocketBuffer(t *testing.T) {
	d := narrowly(t, time.Hour)
	v := d.registered(edition.Direct)
	const apps = 900
	c := d.connect()
	c.hello(v)
	var u edition.Update
	for i := range apps {
		w := device{Key: edition.Key{UAID: v.UAID, AppID: edition.NewAppID()}, secret: v.secret}
		if i == 0 {
			w = v
		}
		d.register(w, edition.Direct)
		u = append(u, event(w, 1))
	}
	u = u.Normalize()
	d.hub.Deliver(u, edition.Delivery{}) // rung once for each: the goroutine that rings writes
	for got := 0; got < apps; {
		m := c.hear(wire.TypeUpdate)
		got += len(m.Updates)
		c.ack(m.Updates...)
	}
	c.barrier()
}

// muchWaits makes devices for which more waits than any buffer takes, an UPDATE
// for each.
func (d *door) muchWaits() (claims []wire.Agent) {
	d.t.Helper()
	for range wire.MaxClaims {
		v := d.registered(edition.Direct)
		claims = append(claims, v.claim())
		for range 15 {
			d.message(v, "", edition.Body{Data: make([]byte, edition.MaxBody)})
		}
	}
	return claims
}

// A peer that does not read is cut off.
func TestSmallSocketBufferOfAMutePeer(t *testing.T) {
	d := narrowly(t, 300*time.Millisecond)
	claims := d.muchWaits()
	dialer := websocket.Dialer{NetDialContext: d.dial}
	ws, _, err := dialer.DialContext(t.Context(), "ws"+d.url[len("http"):]+wire.PathWebSocket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteJSON(wire.Message{Type: wire.TypeHello, Agents: claims, Bodies: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	d.eventually("it is cut off", func() bool { return !d.hub.Connected(edition.Holder{UAID: claims[0].UAID}) })
}
