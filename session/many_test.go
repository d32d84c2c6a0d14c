package session

import (
	"context"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/bolt"
	"github.com/edition-push/edition/wire"
)

// heap is what is live, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Thousands of large messages for one device that reads slowly, over each kind
// of connection, cost no memory beyond about one UPDATE: neither while nothing is
// read nor while all is.
func TestManyMessagesSlowReader(t *testing.T) {
	count := 600
	if long {
		count = 10_000
	}
	const most = 4 << 20 // all of them are 2.4 MiB, or 40 MiB, and as much again in JSON
	st, err := bolt.Open(bolt.Options{
		Path: filepath.Join(t.TempDir(), "data"), DeviceMessages: count + 1, DeviceBytes: 1 << 30, JournalBytes: 1 << 20, Sync: bolt.SyncInterval,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- st.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		st.Close()
	}()

	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := openOn(t, l, new(net.Dialer).DialContext, func(o *Options) {
		*o = options(st)
		o.Limits = unhurried
		o.Limits.Rate = -1
	})
	defer d.close()
	v := d.registered(edition.Direct)
	data := make([]byte, edition.MaxBody)
	for left := count; left > 0; {
		var u edition.Update
		var bodies []*edition.Body
		for range min(left, 100) {
			u = append(u, edition.Event{Key: edition.Key{UAID: v.UAID, AppID: slotMaker.Next(time.Now())}})
			bodies = append(bodies, &edition.Body{AppID: v.AppID, TTL: time.Hour, Encoding: "aes128gcm", Data: data})
		}
		left -= len(u)
		res, err := d.hub.Deliver(u, edition.Delivery{Make: true, Bodies: bodies}).Wait(t.Context())
		if err != nil || res[len(u)-1].Outcome != edition.OutcomeStored {
			t.Fatalf("%+v %v", res[len(u)-1], err)
		}
	}
	before := heap()
	check := func(when string) {
		t.Helper()
		if grown := heap() - before; grown > most {
			t.Errorf("%s: %d KiB more are live", when, grown>>10)
		} else {
			t.Logf("%s: %d KiB more are live", when, grown>>10)
		}
	}

	open := func(hello wire.Message) *websocket.Conn {
		t.Helper()
		dialer := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
		ws, _, err := dialer.DialContext(t.Context(), "ws"+d.url[len("http"):]+wire.PathWebSocket, nil)
		if err != nil {
			t.Fatal(err)
		}
		hello.Type, hello.Agents = wire.TypeHello, []wire.Agent{v.claim()}
		if err := ws.WriteJSON(hello); err != nil {
			t.Fatal(err)
		}
		return ws
	}
	mapped := open(wire.Message{})
	for got := 0; got == 0; {
		var m wire.Message
		_, b, err := mapped.ReadMessage()
		if err != nil || wire.Decode(b, &m) != nil {
			t.Fatal(err)
		}
		got = len(m.Updates)
	}
	check("told as versions")
	mapped.Close()

	quiet := open(wire.Message{Bodies: true, Urgency: "high"})
	if err := quiet.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the hello's answer, and a pong for what was looked up
		if _, _, err := quiet.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	check("not urgent enough")
	quiet.Close()

	s := d.stream("?bodies=true", nil, v)
	s.hear(wire.TypeUpdate)
	check("an event stream")
	s.close()

	ws := open(wire.Message{Bodies: true})
	time.Sleep(50 * time.Millisecond) // nothing is read
	check("nothing read")
	for got, next := 0, count/4; got < count; {
		_, b, err := ws.ReadMessage()
		var m wire.Message
		if err != nil || wire.Decode(b, &m) != nil {
			t.Fatal(err)
		}
		if m.Type != wire.TypeUpdate {
			continue
		}
		if got += len(m.Updates); got >= next {
			check("being read")
			next += count / 4
		}
		if err := ws.WriteMessage(websocket.TextMessage, wire.AppendAck(nil, false, edition.Update(m.Updates))); err != nil {
			t.Fatal(err)
		}
	}
	ws.Close()
	eventuallyFree(t, d, v)
	check("all delivered")
}
