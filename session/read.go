package session

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func newUpgrader(protocols ...string) websocket.Upgrader {
	return websocket.Upgrader{
		// Buffers of our own, so that those of net/http are freed; and small
		// ones: a message larger than that is read in pieces. Frames are
		// written by send, without a buffer here.
		ReadBufferSize:  512,
		WriteBufferPool: new(sync.Pool),
		Subprotocols:    protocols, // of those that a client asks for, the first of these is taken
		// A page of any origin may connect: what it can do is shown by
		// secrets in messages, and no cookie or address gives it more.
		CheckOrigin: func(*http.Request) bool { return true },
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			wire.WriteProblem(w, wire.Problem{Status: status, Detail: reason.Error()}.Err())
		},
	}
}

// webSocket upgrades a request. Its goroutine takes the first message, which
// needs the stack that it has already; then it leaves the connection to a fresh
// one and returns, so that the stack and the buffers of net/http go.
func (s *Server) webSocket(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		wire.WriteProblem(w, fmt.Errorf("%w: use GET", edition.ErrMethod))
		return
	}
	b, p, err := s.authenticate(r)
	if err == nil && s.isDraining() {
		s.m.refuse(reasonStopping)
		err = errDraining
	}
	if err != nil {
		wire.WriteProblem(w, err)
		return
	}
	growStack()
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // answered by Error
	}
	c := newConn(s, ws, b, p)
	if b == nil && s.talks(r, ws) {
		c.talk, c.bodies = s.talk(&Device{c}), true
	}
	if !s.wheel.add(c) { // Run has ended
		c.net.Close()
		return
	}
	c.gauge().Inc()
	if b != nil {
		c.recheck()
	}
	c.serve(true)
}

// growStack makes room for what the first message takes, while there are few
// frames to move.
//
//go:noinline
func growStack() {
	var room [4 << 10]byte
	runtime.KeepAlive(&room)
}

// inbox is what one message is read into and decoded to.
type inbox struct {
	b []byte
	m wire.Message
}

// maxPooled is the greatest buffer that is kept for the next message.
const maxPooled = 64 << 10

var inboxes = sync.Pool{New: func() any {
	return &inbox{b: make([]byte, 0, 1024), m: wire.Message{Updates: make(wire.Updates, 0, 4)}}
}}

func (in *inbox) free() {
	u := in.m.Updates
	if cap(in.b) > maxPooled || cap(u) > 2*wire.MaxUpdate {
		return
	}
	if u == nil {
		u = wire.Updates{} // so that an ack of nothing differs from an ack that names nothing
	}
	in.b, in.m = in.b[:0], wire.Message{Updates: u[:0]}
	inboxes.Put(in)
}

// serve reads and handles messages until the connection ends. After the first
// one, and after a message whose handling needs a deep stack, it goes on in a
// new goroutine, so that an idle connection keeps a small one.
func (c *conn) serve(first bool) {
	moved := false
	defer func() {
		if fault := recover(); fault != nil {
			c.s.panicked(fault, "session.conn.serve")
			c.endNow(websocket.CloseInternalServerErr, "a fault of the server", reasonPanic)
		}
		if !moved {
			c.gone()
		}
	}()
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			c.readFailed(err)
			return
		}
		c.read.Store(c.s.now.Load())
		if c.next(kind, r) || first {
			moved = true
			go c.serve(false)
			return
		}
	}
}

// gone is the last act of a connection.
func (c *conn) gone() {
	c.endNow(0, "", reasonRead)
	c.net.Close()
	c.gauge().Dec()
	c.s.wheel.remove(c)
}

// next reads one message and handles it. It reports whether that took a deep
// stack.
func (c *conn) next(kind int, r io.Reader) (deep bool) {
	if c.isClosing() {
		return false // NextReader skips it
	}
	if kind != websocket.TextMessage {
		c.endNow(websocket.CloseUnsupportedData, "text messages only", reasonBinary)
		return false
	}
	in := inboxes.Get().(*inbox)
	defer in.free()
	limit := c.s.limits.Message
	if c.badge != nil {
		limit = c.s.limits.RelayMessage
	}
	if err := in.read(r, limit); err != nil {
		if errors.Is(err, edition.ErrTooLarge) {
			c.s.m.refuse(reasonTooLarge)
			c.refuse(err, "")
			c.endNow(websocket.CloseMessageTooBig, err.Error(), reasonTooLarge)
		}
		return false // NextReader repeats the network's error
	}
	if !utf8.Valid(in.b) {
		c.endNow(websocket.CloseInvalidFramePayloadData, "text that is not UTF-8", reasonUTF8)
		return false
	}
	if c.talk != nil && c.listenTo(in.b) {
		return true
	}
	return c.handle(in)
}

// read fills the inbox with one message of at most limit bytes.
func (in *inbox) read(r io.Reader, limit int) error {
	for {
		if len(in.b) == cap(in.b) {
			in.b = append(in.b, 0)[:len(in.b)]
		}
		n, err := r.Read(in.b[len(in.b):min(cap(in.b), limit+1)])
		in.b = in.b[:len(in.b)+n]
		switch {
		case len(in.b) > limit:
			return errSize(limit)
		case err == io.EOF: // io.Reader returns it bare
			return nil
		case err != nil:
			return err
		}
	}
}

func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

func (c *conn) readFailed(err error) {
	why := reasonRead
	if _, ok := errors.AsType[*websocket.CloseError](err); ok {
		why = reasonPeer
	}
	c.endNow(0, "", why)
}

// onPing answers a WebSocket ping.
func (c *conn) onPing(data string) error {
	c.read.Store(c.s.now.Load())
	f := newFrame()
	defer f.free()
	f.b = append(f.b, data...)
	if err := c.send(websocket.PongMessage, f); err != nil && !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

func (c *conn) onPong(string) error {
	c.read.Store(c.s.now.Load())
	return nil
}

// onClose answers a close frame.
func (c *conn) onClose(code int, _ string) error {
	if code == websocket.CloseNoStatusReceived {
		code = websocket.CloseNormalClosure
	}
	c.endNow(code, "", reasonPeer)
	return nil
}
