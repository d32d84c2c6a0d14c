package load

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestPut checks that the publisher's requests are what net/http reads, and
// that it reads what net/http answers, on one connection.
func TestPut(t *testing.T) {
	var connections atomic.Int32
	var bodies []string // one request at a time
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+string(b))
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, strings.Repeat("x", 100*len(bodies)))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	p, err := DialPutter(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range 3 {
		status, err := p.Put([]byte("/a"), uint64(i))
		if err != nil || status != http.StatusAccepted {
			t.Fatalf("put %d: %d, %v", i, status, err)
		}
	}
	if want := "PUT /a application/x-www-form-urlencoded version=2"; len(bodies) != 3 || bodies[2] != want {
		t.Errorf("got %q, want the last to be %q", bodies, want)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestLoopFails checks that an answer that is not 200 or 202 ends a loop.
func TestLoopFails(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, err := Closed(t.Context(), s.Listener.Addr().String(), 2, time.Minute, func(int, int) ([]byte, uint64) { return []byte("/a"), 1 })
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v, want an error that names 404", err)
	}
}

// echo upgrades and sends back what it reads, with a ping before each.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := (&websocket.Upgrader{Subprotocols: []string{"test"}}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, msg, err := c.ReadMessage()
		if err != nil {
			return
		}
		if c.WriteControl(websocket.PingMessage, []byte("hi"), time.Now().Add(time.Minute)) != nil || c.WriteMessage(kind, msg) != nil {
			return
		}
	}
}

// TestDevice checks the frames of all sizes against gorilla/websocket.
func TestDevice(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(echo))
	defer s.Close()
	d, err := DialDevice(s.Listener.Addr().String(), "/", "test", http.Header{"X-A": {"b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, size := range []int{0, 1, 125, 126, 600, 1<<16 - 1, 1 << 16, 200_000} {
		want := bytes.Repeat([]byte("a"), size)
		if err := d.Write(want); err != nil {
			t.Fatal(err)
		}
		got, err := d.Read()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d others", size, len(got))
		}
	}
}

func TestLastNumber(t *testing.T) {
	for text, want := range map[string]uint64{`{"a1":{"b2":41}}`: 41, "7": 7, `x9223372036854775807}`: 1<<63 - 1} {
		if got, err := lastNumber([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "{}", "99999999999999999999"} {
		if got, err := lastNumber([]byte(text)); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

// TestFleet runs both loops against a server that writes each PUT to the
// device it names, and counts what arrived.
func TestFleet(t *testing.T) {
	const devices = 10
	conns := make([]chan *websocket.Conn, devices)
	var acks atomic.Int64
	for i := range conns {
		conns[i] = make(chan *websocket.Conn, 1)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(r.URL.Path[2] - '0')
		if r.Method == http.MethodGet {
			c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			conns[i] <- c
			for {
				_, msg, err := c.ReadMessage()
				if err != nil {
					return
				}
				if strings.HasPrefix(string(msg), "got ") {
					acks.Add(1)
				}
			}
		}
		b, _ := io.ReadAll(r.Body)
		c := <-conns[i]
		defer func() { conns[i] <- c }()
		if c.WriteMessage(websocket.TextMessage, b) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	targets := make([]Target, devices)
	for i := range targets {
		targets[i].Path = []byte{'/', 'd', '0' + byte(i)}
		targets[i].ReplyHead, targets[i].ReplyTail = []byte("got "), []byte(".")
	}
	f := NewFleet(targets)
	defer f.Close()
	dialled := atomic.Int32{}
	if _, err := f.Connect(t.Context(), 3, func(i int) (*Device, error) {
		return DialDevice(addr, string(targets[i].Path), "", nil)
	}, func() { dialled.Add(1) }); err != nil || dialled.Load() != devices {
		t.Fatal(dialled.Load(), err)
	}
	closed, latency, err := f.Closed(t.Context(), addr, 4, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if closed.Events < 4 || latency.Count() == 0 || latency.Quantile(1) <= 0 {
		t.Errorf("%d events, %d times, at most %v", closed.Events, latency.Count(), latency.Quantile(1))
	}
	open, latency, err := f.Open(t.Context(), addr, 4, 200, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if open.Events != 20 || latency.Count() == 0 {
		t.Errorf("%d events, %d times, want 20", open.Events, latency.Count())
	}
}

// TestFleetMissesNothing checks that a lost UPDATE is an error, as is a lost
// device.
func TestFleetMissesNothing(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
				defer c.Close()
				c.ReadMessage()
			}
		}
	}))
	defer s.Close()
	targets := make([]Target, 1)
	targets[0].Path = []byte("/")
	f := NewFleet(targets)
	addr := s.Listener.Addr().String()
	if _, err := f.Connect(t.Context(), 1, func(int) (*Device, error) { return DialDevice(addr, "/", "", nil) }, func() {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := f.Open(ctx, addr, 1, 100, 10*time.Millisecond); err == nil {
		t.Error("no UPDATE came, and no error")
	}
	f.devices[0].Close()
	f.readers.Wait()
	if _, _, err := f.Closed(t.Context(), addr, 1, time.Second); err == nil {
		t.Error("no device is left, and no error")
	}
}
