// Package udpsim is the device's end of the kick driver udp: it listens on one
// port for datagrams and for TCP connections, and tells what they brought. It
// promises to answer nothing, as a device does. It is no device: it does not
// connect when it is woken.
package udpsim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// Options of a Server.
type Options struct {
	Addr string       // where to listen; default 127.0.0.1:0
	Log  *slog.Logger // nil: silent
	// OnKick is called with each kick that arrives, from several goroutines;
	// nil if nobody asks.
	OnKick func(Kick)
}

// Kick is one that has arrived.
type Kick struct {
	Proto string // udp or tcp
	From  net.Addr
	Text  string // all of it
}

// Code returns the code that the device has to repeat to confirm its route:
// the last word, if it is 8 of A-Z and 2-7. Empty when there is none.
func (k Kick) Code() string {
	_, last, found := strings.Cut(k.Text, " ")
	if at := strings.LastIndexByte(last, ' '); found && at >= 0 {
		last = last[at+1:]
	}
	if len(last) != codeSize || strings.Trim(last, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return ""
	}
	return last
}

const (
	codeSize = 8
	maxKick  = 1 << 10 // bytes
	// stay is how long a connection may take to say what it has to.
	stay = 30 * time.Second
	// readBuffer is asked for so that a burst of datagrams waits for its
	// reader: the usual size has no room for 256 of them on some systems.
	readBuffer = 1 << 20
)

// Server listens until it is closed.
type Server struct {
	options Options
	udp     net.PacketConn
	tcp     net.Listener
	work    sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{} // Guarded by mu; nil once closed.
}

// Start listens.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnKick == nil {
		o.OnKick = func(Kick) {}
	}
	s := &Server{options: o, open: make(map[net.Conn]struct{})}
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.work.Go(s.datagrams)
	s.work.Go(s.connections)
	return s, nil
}

// listen takes a port that is free for both.
func (s *Server) listen() (err error) {
	var lc net.ListenConfig
	for range 20 {
		if s.tcp, err = lc.Listen(context.Background(), "tcp", s.options.Addr); err != nil {
			return err
		}
		if s.udp, err = lc.ListenPacket(context.Background(), "udp", s.tcp.Addr().String()); err == nil {
			s.udp.(*net.UDPConn).SetReadBuffer(readBuffer) //nolint:errcheck // what the system gives will do
			return nil
		}
		if s.tcp.Close() != nil || !strings.HasSuffix(s.options.Addr, ":0") {
			return err
		}
	}
	return err
}

// Addr is where the server listens, by UDP and by TCP.
func (s *Server) Addr() string { return s.tcp.Addr().String() }

// Close ends the server and waits for what it does.
func (s *Server) Close() error {
	err := errors.Join(s.udp.Close(), s.tcp.Close())
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.work.Wait()
	return err
}

func (s *Server) tell(k Kick) {
	s.options.Log.Info("kick", "proto", k.Proto, "from", k.From.String(), "text", k.Text)
	s.options.OnKick(k)
}

func (s *Server) datagrams() {
	for buf := make([]byte, maxKick); ; {
		n, from, err := s.udp.ReadFrom(buf)
		switch {
		case err == nil:
			s.tell(Kick{Proto: "udp", From: from, Text: string(buf[:n])})
		case errors.Is(err, net.ErrClosed):
			return
		}
	}
}

func (s *Server) connections() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.open == nil {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.open[c] = struct{}{}
		s.work.Go(func() { s.connection(c) })
		s.mu.Unlock()
	}
}

func (s *Server) connection(c net.Conn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	if err := c.SetReadDeadline(time.Now().Add(stay)); err != nil {
		return
	}
	b, err := io.ReadAll(io.LimitReader(c, maxKick))
	if err == nil {
		s.tell(Kick{Proto: "tcp", From: c.RemoteAddr(), Text: string(b)})
	}
}
