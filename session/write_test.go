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

// What does not fit into the socket's buffer: a peer that reads slowly gets it
// whole, one that does not read is cut off.
func TestSmallSocketBuffer(t *testing.T) {
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
	d := openOn(t, narrow{l}, dial, func(o *Options) {
		o.Limits.Write, o.Limits.Rate = 300*time.Millisecond, -1
	})
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

	dialer := websocket.Dialer{NetDialContext: dial}
	ws, _, err := dialer.DialContext(t.Context(), "ws"+d.url[len("http"):]+wire.PathWebSocket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteJSON(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	go func() { // asks and asks, and does not read the answers
		for ws.WriteJSON(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}}) == nil {
		}
	}()
	deadline := time.Now().Add(patient)
	for d.hub.Connected(edition.Holder{UAID: v.UAID}) {
		if time.Now().After(deadline) {
			t.Fatal("a peer that does not read was not cut off")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
