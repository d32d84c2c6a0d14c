package session

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// rawPeer is a WebSocket client that costs next to nothing, so that what is
// measured is the server.
type rawPeer struct {
	net.Conn
	br *bufio.Reader
}

func dialRaw(addr string) (*rawPeer, error) {
	nc, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &rawPeer{Conn: nc, br: bufio.NewReaderSize(nc, 1024)}
	_, err = nc.Write([]byte("GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"))
	for line := ""; err == nil && line != "\r\n"; {
		if line, err = p.br.ReadString('\n'); strings.HasPrefix(line, "HTTP/") && !strings.Contains(line, "101") {
			err = fmt.Errorf("not upgraded: %s", line)
		}
	}
	return p, err
}

// read returns the payload of the next frame.
func (p *rawPeer) read() ([]byte, error) {
	h, err := p.br.Peek(2)
	if err != nil {
		return nil, err
	}
	n, skip := int(h[1]), 2
	if n == 126 {
		if h, err = p.br.Peek(4); err != nil {
			return nil, err
		}
		n, skip = int(h[2])<<8|int(h[3]), 4
	}
	p.br.Discard(skip) // was peeked
	b, err := p.br.Peek(n)
	p.br.Discard(n) // as is the next
	return b, err
}

// mask returns a client's text frame, masked with zeros.
func mask(payload []byte) []byte {
	b := []byte{0x81, 0x80 | byte(len(payload)), 0, 0, 0, 0}
	if len(payload) > 125 {
		b = []byte{0x81, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}
	}
	return append(b, payload...)
}

func rss(b *testing.B) int {
	b.Helper()
	debug.FreeOSMemory()
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("no /proc")
	}
	pages, _ := strconv.Atoi(strings.Fields(string(s))[1])
	return pages * os.Getpagesize()
}

// BenchmarkIdle reports the resident memory of an idle connection and the time
// that setting one up takes, beside a bare server's. The clients, which live in
// this process too, are bare file descriptors.
func BenchmarkIdle(b *testing.B) {
	const n = 5000
	b.Run("edition", func(b *testing.B) {
		for range b.N {
			st := mem.New(mem.Options{})
			d := open(b, func(o *Options) {
				o.Store, o.Hub, o.Registrar = st, hub.New(hub.Options{Store: st}), &registrar{Store: st}
			})
			var hellos [][]byte
			for range n {
				v := d.registered(edition.Direct)
				hellos = append(hellos, mask([]byte(`{"type":"hello","agents":[{"uaid":"`+v.UAID.String()+`","secret":"`+v.secret+`"}]}`)))
			}
			idle(b, strings.TrimPrefix(d.url, "http://"), hellos, nil)
			d.close()
		}
	})
	b.Run("edition after an update", func(b *testing.B) {
		for range b.N {
			d := open(b, nil)
			var hellos [][]byte
			var all edition.Update
			for range n {
				v := d.registered(edition.Direct)
				all = append(all, event(v, 1))
				hellos = append(hellos, mask([]byte(`{"type":"hello","agents":[{"uaid":"`+v.UAID.String()+`","secret":"`+v.secret+`"}]}`)))
			}
			idle(b, strings.TrimPrefix(d.url, "http://"), hellos, func() {
				for _, e := range all {
					d.hub.Deliver(edition.Update{e}, edition.Delivery{})
				}
			})
			d.close()
		}
	})
	b.Run("bare", func(b *testing.B) {
		for range b.N {
			up := websocket.Upgrader{}
			l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ws, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer ws.Close()
				for {
					kind, m, err := ws.ReadMessage()
					if err != nil || ws.WriteMessage(kind, m[:60]) != nil {
						return
					}
				}
			})}
			go srv.Serve(l) // ends with Close
			hellos := make([][]byte, n)
			for i := range hellos {
				hellos[i] = mask(make([]byte, 120))
			}
			idle(b, l.Addr().String(), hellos, nil)
			srv.Close() // nothing to do about it
		}
	})
}

// idle opens a connection for each hello. work is done on them before they
// are left alone.
func idle(b *testing.B, addr string, hellos [][]byte, work func()) {
	host, port, _ := net.SplitHostPort(addr)
	p, _ := strconv.Atoi(port)
	sa := &syscall.SockaddrInet4{Port: p}
	copy(sa.Addr[:], net.ParseIP(host).To4())
	fds := make([]int, 0, len(hellos))
	before, start, used := rss(b), time.Now(), cpu()
	buf := make([]byte, 4096)
	for _, hello := range hellos {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err != nil {
			b.Fatal(err)
		}
		fds = append(fds, fd)
		if err := syscall.Connect(fd, sa); err != nil {
			b.Fatal(err)
		}
		const req = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
		for _, out := range [][]byte{[]byte(req), hello} {
			if _, err := syscall.Write(fd, out); err != nil {
				b.Fatal(err)
			}
			if n, err := syscall.Read(fd, buf); err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
	}
	took, used := time.Since(start), cpu()-used
	if work != nil {
		work()
	}
	time.Sleep(100 * time.Millisecond)
	for range 4 { // stacks shrink by half with each collection
		debug.FreeOSMemory()
	}
	after := rss(b)
	b.ReportMetric(float64(after-before)/float64(len(fds)), "B/conn")
	b.ReportMetric(float64(took.Microseconds())/float64(len(fds)), "µs/conn")
	b.ReportMetric(float64(used.Microseconds())/float64(len(fds)), "cpu-µs/conn")
	for _, fd := range fds {
		syscall.Close(fd) // nothing to do about it
	}
}

// BenchmarkEvent measures Deliver → UPDATE → ACK through sockets, beside a bare
// server that writes one frame and reads one. The difference of their CPU is
// what hub, session and store cost.
func BenchmarkEvent(b *testing.B) {
	const devices, publishers = 1000, 128
	b.Run("edition", func(b *testing.B) {
		st := mem.New(mem.Options{})
		d := open(b, func(o *Options) {
			o.Store, o.Registrar = st, &registrar{Store: st}
			o.Hub = hub.New(hub.Options{Store: st, Grace: 25 * time.Millisecond})
			o.Limits.Rate = -1
		})
		var all []device
		for range devices {
			v := d.registered(edition.Direct)
			p, err := dialRaw(strings.TrimPrefix(d.url, "http://"))
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			p.Write(mask([]byte(`{"type":"hello","agents":[{"uaid":"` + v.UAID.String() + `","secret":"` + v.secret + `"}]}`))) // then the read fails
			if _, err := p.read(); err != nil {
				b.Fatal(err)
			}
			all = append(all, v)
			go p.acknowledge()
		}
		last := make([]atomic.Uint64, devices)
		measure(b, publishers, func(i int) {
			i %= devices
			e := event(all[i], edition.Version(last[i].Add(1)))
			if _, err := d.hub.Deliver(edition.Update{e}, edition.Delivery{}).Wait(context.Background()); err != nil {
				b.Error(err)
			}
		})
	})
	b.Run("bare", func(b *testing.B) { bareEvents(b, devices, publishers) })
}

// acknowledge answers UPDATEs of one event: the ack has their tail.
func (p *rawPeer) acknowledge() {
	out := make([]byte, 0, 512)
	for {
		m, err := p.read()
		if err != nil {
			return
		}
		i := strings.Index(string(m), `"updates":`)
		out = append(append(out[:8], `{"type":"ack",`...), m[i:]...)
		n := len(out) - 8
		copy(out, []byte{0x81, 0x80 | 126, byte(n >> 8), byte(n), 0, 0, 0, 0})
		if _, err := p.Write(out); err != nil {
			return
		}
	}
}

func bareEvents(b *testing.B, devices, publishers int) {
	type bare struct {
		mu   sync.Mutex
		ws   *websocket.Conn
		back chan struct{}
	}
	conns := make(chan *bare, devices)
	up := websocket.Upgrader{}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &bare{ws: ws, back: make(chan struct{}, 1)}
		conns <- c
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			c.back <- struct{}{}
		}
	})}
	go srv.Serve(l)   // ends with Close
	defer srv.Close() // nothing to do about it
	var all []*bare
	for range devices {
		p, err := dialRaw(l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		go p.acknowledge()
		all = append(all, <-conns)
	}
	frame := wire.AppendUpdate(nil, 1234, edition.Update{event(newDevice(), 12345)})
	measure(b, publishers, func(i int) {
		c := all[i%devices]
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
			b.Error(err)
		}
		<-c.back
	})
}

func measure(b *testing.B, publishers int, do func(i int)) {
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				do(i)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) // then it is 0
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
