// Package bare holds the references that edition bench measures against: what
// net/http, gorilla/websocket, bbolt and a socket can do when nothing else is
// done. They keep none of the product's promises.
package bare

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Paths of the bare push server, each followed by a device's name.
const (
	PathDevice = "/ws/"
	PathPut    = "/put/"
)

// ReplySize is the size of a device's answer to a frame, in bytes.
const ReplySize = 60

// push is a PUT handler that writes one frame to a device's connection.
type push struct {
	upgrader   websocket.Upgrader
	head, tail string // of the frame, around the version

	mu      sync.RWMutex
	devices map[string]*device // Guarded by mu.
}

type device struct {
	mu   sync.Mutex // one writer at a time
	conn *websocket.Conn
}

// Push serves the bare push server until ctx ends: PUT /put/NAME writes one
// frame of the size of an UPDATE to the device that connected as /ws/NAME, and
// answers 200. A device's first message is echoed, the others are read.
func Push(ctx context.Context, l net.Listener) error {
	frame := string(wire.AppendUpdate(nil, 1, edition.Update{{Version: 7}}))
	at := strings.LastIndexByte(frame, '7')
	return serve(ctx, l, &push{devices: make(map[string]*device), head: frame[:at], tail: frame[at+1:]})
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := http.Server{Handler: h}
	stop := context.AfterFunc(ctx, func() { s.Close() }) //nolint:errcheck // Serve tells
	defer stop()
	err := s.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (p *push) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, PathPut); ok {
		p.put(w, r, name)
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, PathDevice); ok {
		p.connect(w, r, name)
		return
	}
	http.NotFound(w, r)
}

func (p *push) put(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPut {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.RLock()
	d := p.devices[name]
	p.mu.RUnlock()
	if d == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	version := body[len("version="):]
	frame := make([]byte, 0, len(p.head)+len(version)+len(p.tail))
	frame = append(append(append(frame, p.head...), version...), p.tail...)
	d.mu.Lock()
	err = d.conn.WriteMessage(websocket.TextMessage, frame)
	d.mu.Unlock()
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (p *push) connect(w http.ResponseWriter, r *http.Request, name string) {
	conn, err := p.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	kind, hello, err := conn.ReadMessage()
	if err != nil {
		return
	}
	d := &device{conn: conn}
	d.mu.Lock()
	p.mu.Lock()
	p.devices[name] = d
	p.mu.Unlock()
	err = conn.WriteMessage(kind, hello)
	d.mu.Unlock()
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
}
