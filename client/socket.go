package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// socket is a connection over a WebSocket. One goroutine, that of Run, reads;
// whoever has something to say writes.
type socket struct {
	// Fixed after construction.
	c      *Client
	conn   *websocket.Conn
	opened time.Time

	heard atomic.Int64  // when something last came, for the heartbeat; since opened
	dead  atomic.Bool   // the heartbeat gave it up
	ended chan struct{} // closed when serve returns

	m wire.Message // Owned by the reader; its slices are reused

	calling sync.Mutex // held while a call is noted and written
	writing sync.Mutex // held while a message is written

	mu    sync.Mutex
	calls []*call         // Guarded by mu; in the order they were sent
	pongs []chan struct{} // Guarded by mu; barriers, oldest first
}

// greet says hello and waits for the answer, before serve.
func (s *socket) greet(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	s.conn.SetReadDeadline(time.Now().Add(helloTimeout)) //nolint:errcheck // the read will tell
	cfg := &s.c.cfg
	m := wire.Message{Type: wire.TypeHello, Relay: cfg.Relay, Store: cfg.StoreID, Custody: cfg.Custody}
	if cfg.Relay == "" {
		w := s.c.wanted()
		m.Bodies, m.Urgency = w.bodies, w.word()
	}
	agents := s.c.known()
	for first := true; first || len(agents) > 0; first = false {
		n := min(len(agents), maxAgents)
		m.Agents, agents = agents[:n], agents[n:]
		if err := s.send(&m); err != nil {
			return err
		}
		if err := s.answerOf(wire.TypeHello); err != nil {
			if ReasonOf(err) == ReasonTimeout {
				err = fault(ReasonUpgrade, "hello was not answered in %v", helloTimeout)
			}
			return err
		}
		if r := s.m.Refused; len(r) > 0 && cfg.Refused != nil {
			cfg.Refused(r)
		}
		cfg.gone(s.m.Gone)
		if cfg.Way != nil && len(s.m.Way) > 0 {
			if err := cfg.Way(s.m.Way); err != nil {
				return fault(ReasonLoop, "%w", err)
			}
		}
	}
	return s.conn.SetReadDeadline(time.Time{})
}

// answerOf reads until a message of the type, or the error about it, has come.
func (s *socket) answerOf(typ string) error {
	for {
		if err := s.read(); err != nil {
			return err
		}
		switch {
		case s.m.Type == typ:
			return nil
		case s.m.Type == wire.TypeError && (s.m.Of == typ || s.m.Of == ""):
			return &Error{Reason: ReasonRefused, Err: s.m.Err()}
		}
		s.handle()
	}
}

// serve reads until the connection ends and returns why.
func (s *socket) serve(ctx context.Context) error {
	defer s.conn.Close()
	defer s.end()
	stop := context.AfterFunc(ctx, s.goodbye)
	defer stop()
	beat := s.heartbeat()
	defer beat.Stop()

	s.c.up(s, TransportWebSocket, s.m.Custody)
	for {
		if err := s.read(); err != nil {
			if s.dead.Load() {
				err = fault(ReasonTimeout, "upstream has been silent for %v", 2*s.c.cfg.Heartbeat)
			}
			return err
		}
		s.handle()
	}
}

// heartbeat pings after a silence and gives up after twice that. It is one timer
// of the runtime and no deadline per message. The caller stops it.
func (s *socket) heartbeat() *time.Timer {
	s.conn.SetPongHandler(func(string) error { s.hear(); return nil })
	s.conn.SetPingHandler(func(data string) error {
		s.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeTimeout)) //nolint:errcheck // the reader will tell
		s.hear()
		return nil
	})
	every := s.c.cfg.Heartbeat
	made := make(chan struct{})
	var beat *time.Timer
	beat = time.AfterFunc(every, func() {
		<-made
		silence := time.Since(s.opened) - time.Duration(s.heard.Load())
		select {
		case <-s.ended:
			return
		default:
		}
		switch {
		case silence >= 2*every:
			s.dead.Store(true)
			s.conn.Close()
			return
		case silence >= every:
			s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)) //nolint:errcheck // the reader will tell
			silence -= every
		}
		beat.Reset(every - silence)
	})
	close(made)
	return beat
}

func (s *socket) hear() { s.heard.Store(int64(time.Since(s.opened))) }

// goodbye ends the connection politely.
func (s *socket) goodbye() {
	s.conn.WriteControl(websocket.CloseMessage, //nolint:errcheck // it is over either way
		websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(time.Second))
	s.conn.Close()
}

// end answers everybody who still waits.
func (s *socket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ended)
	s.calls, s.pongs = nil, nil
}

// read takes one message into s.m.
func (s *socket) read() error {
	kind, r, err := s.conn.NextReader()
	if err != nil {
		return closeFault(err)
	}
	buf := messages.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= keepMessage {
			messages.Put(buf)
		}
	}()
	if *buf, err = readInto((*buf)[:0], r); err != nil {
		return closeFault(err)
	}
	s.hear()
	if kind != websocket.TextMessage {
		return fault(ReasonProtocol, "upstream sent a binary message")
	}
	if err := wire.Decode(*buf, &s.m); err != nil {
		return fault(ReasonProtocol, "upstream sent what is no message: %w", err)
	}
	return nil
}

func readInto(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// handle acts on the message in s.m.
func (s *socket) handle() {
	switch s.m.Type {
	case wire.TypeUpdate:
		s.c.update(s, edition.Update(s.m.Updates), s.m.Messages, nothing)
		s.m.Messages = nil
		if s.c.cfg.Relay == "" && cap(s.m.Updates) > 64 {
			s.m.Updates = nil
		}
	case wire.TypePong:
		s.pong()
	case wire.TypeWake:
		if s.m.Wake != nil {
			s.c.cfg.wake(wire.Wake{ID: s.m.ID, Wake: *s.m.Wake})
		}
	case wire.TypeError:
		if !s.answer(&s.m) {
			s.c.cfg.Log.Warn("upstream sent an error", "host", s.c.base.Host,
				"of", fmt.Sprintf("%.20s", s.m.Of), "status", s.m.Status, "err", s.m.Err())
		}
	default:
		s.answer(&s.m)
	}
}

func nothing() {}

// send writes a message that is not on the hot path.
func (s *socket) send(m *wire.Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.write(b)
}

func (s *socket) write(b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // the write will tell
	if err := s.conn.WriteMessage(websocket.TextMessage, b); err != nil {
		s.conn.Close() // wakes the reader, which reports
		return netFault(err, ReasonClosed)
	}
	return nil
}
