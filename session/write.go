package session

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// frame is a WebSocket frame in the making (RFC 6455 §5.2): room for its
// header, then the payload.
type frame struct{ b []byte }

const frameHead = 10

var frames = sync.Pool{New: func() any { return &frame{b: make([]byte, frameHead, 512)} }}

func newFrame() *frame { return frames.Get().(*frame) }

func (f *frame) free() {
	if cap(f.b) <= maxPooled {
		f.b = f.b[:frameHead]
		frames.Put(f)
	}
}

// finish writes the header in front of the payload and returns both. A
// server's frames are not masked.
func (f *frame) finish(op int) []byte {
	n := len(f.b) - frameHead
	var b []byte
	switch {
	case n <= 125:
		b = f.b[frameHead-2:]
		b[1] = byte(n)
	case n < 1<<16:
		b = f.b[frameHead-4:]
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	default:
		b = f.b
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
	b[0] = 0x80 | byte(op)
	return b
}

// errEnded is a write after the close frame.
var errEnded = errors.New("the connection is ending")

// send writes one frame. It waits for the peer at most as long as the limit
// says.
func (c *conn) send(op int, f *frame) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.sendLocked(op, f)
}

// sendLocked is send for who holds wmu.
func (c *conn) sendLocked(op int, f *frame) error {
	rest, err := c.begin(op, f)
	if err != nil || len(rest) == 0 {
		return err
	}
	return c.wait(rest)
}

// post writes one frame, which it takes over, without waiting: when the peer
// is slow to read, or somebody else writes, a goroutine waits instead.
func (c *conn) post(op int, f *frame) {
	if !c.wmu.TryLock() {
		c.later(f, func() error { return c.send(op, f) })
		return
	}
	rest, err := c.begin(op, f)
	if err == nil && len(rest) > 0 {
		c.later(f, func() error { // the lock goes with it
			defer c.wmu.Unlock()
			return c.wait(rest)
		})
		return
	}
	c.wmu.Unlock()
	f.free()
	if err != nil {
		c.end(0, "", reasonWrite)
	}
}

func (c *conn) later(f *frame, write func() error) {
	c.s.conns.Go(func() {
		defer f.free()
		if write() != nil {
			c.end(0, "", reasonWrite)
		}
	})
}

// begin writes what the socket takes at once, and returns the rest. Most
// frames fit into the socket's buffer: they need no deadline, and so no timer.
// The caller holds wmu.
func (c *conn) begin(op int, f *frame) (rest []byte, err error) {
	if c.sentEnd {
		return nil, errEnded
	}
	c.sentEnd = op == websocket.CloseMessage
	b := f.finish(op)
	if c.raw == nil {
		return b, nil
	}
	n, err := tryWrite(c.raw, b)
	c.sentEnd = c.sentEnd || err != nil
	return b[n:], err
}

// wait writes to a peer that is slow to read. What comes after half a frame
// would be no frame, so a failure ends all writing. The caller holds wmu.
func (c *conn) wait(b []byte) error {
	c.net.SetWriteDeadline(time.Now().Add(c.s.limits.Write)) //nolint:errcheck // then the write fails
	_, err := c.net.Write(b)
	c.sentEnd = c.sentEnd || err != nil
	c.net.SetWriteDeadline(time.Time{}) //nolint:errcheck // then the next write fails
	return err
}

// sendClose writes a close frame; nothing is sent after it.
func (c *conn) sendClose(code int, text string) error {
	f := newFrame()
	defer f.free()
	f.b = binary.BigEndian.AppendUint16(f.b, uint16(code))
	f.b = append(f.b, text[:min(len(text), 123)]...)
	return c.send(websocket.CloseMessage, f)
}

// reply sends a message. An error ends the connection.
func (c *conn) reply(m *wire.Message) {
	b, err := json.Marshal(m)
	if err != nil {
		c.s.log.Error("cannot encode a message", "type", m.Type, "err", err)
		return
	}
	f := newFrame()
	defer f.free()
	f.b = append(f.b, b...)
	if err := c.send(websocket.TextMessage, f); err != nil {
		c.end(0, "", reasonWrite)
	}
}

// refuse answers a message of type of with an error.
func (c *conn) refuse(err error, of string) { c.refuseTo(err, of, nil, nil) }

// refuseTo is refuse that says whose request failed: a relay has many on their
// way at once. A device that has a Talk is told by that, or not at all.
func (c *conn) refuseTo(err error, of string, uaid *edition.UAID, app *edition.AppID) {
	if c.talk != nil {
		return
	}
	m := wire.ErrorMessage(err, of)
	m.UAID, m.AppID = uaid, app
	if m.Status == 500 {
		c.s.log.Error("a message failed", "type", of, "err", err)
	}
	c.reply(&m)
}
