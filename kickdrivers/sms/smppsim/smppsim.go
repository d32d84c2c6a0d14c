// Package smppsim is an SMSC to try the driver sms with: it takes what is
// submitted by SMPP 3.4 over a real socket, checks it as an SMSC would, and
// tells what it took.
//
// It promises to answer every PDU as section 4 has it, unless it was told to
// misbehave. It sends nothing into any network.
package smppsim

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/edition-push/edition/kickdrivers/simtls"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
)

// Options of a simulator. The zero Options are usable.
type Options struct {
	Addr string       // to listen on; default 127.0.0.1:0
	Log  *slog.Logger // nil: silent
	// SystemID and Password are what a bind must bring; default "edition"
	// and "secret".
	SystemID, Password string
	// OnKick is called for each message that is accepted, from many
	// goroutines.
	OnKick func(Kick)
	// Answer says how a message is answered; nil: accepted, and a receipt
	// says that it was delivered. It is called from many goroutines.
	Answer func(Kick) Answer
	// Window is how many messages of one connection may be unanswered; more
	// are throttled. 0 is 1000.
	Window int
	// Enquire is how often the other side, once it is bound, is asked whether
	// it is there; 0 is never.
	Enquire time.Duration
	// TLS makes a certificate for 127.0.0.1 and speaks TLS.
	TLS bool
}

// Answer says how a message is answered.
type Answer struct {
	Status smpp.Status   // smpp.OK: accepted
	Delay  time.Duration // before the answer
	Never  bool          // no answer at all
	Hangup bool          // the connection is closed instead
	// State is what the receipt says, a State word of package smpp; empty: no
	// receipt. It comes Later after the answer.
	State string
	Later time.Duration
}

// Server is a running simulator. Make one with Start.
type Server struct {
	// Fixed after construction.
	o        Options
	log      *slog.Logger
	listener net.Listener
	ca       *simtls.Authority // nil without TLS
	done     chan struct{}
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[*conn]bool
	lastID uint64
}

// Start listens. The error is that of the address.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.SystemID == "" {
		o.SystemID = "edition"
	}
	if o.Password == "" {
		o.Password = "secret"
	}
	if o.Window == 0 {
		o.Window = 1000
	}
	if o.Answer == nil {
		o.Answer = func(Kick) Answer { return Answer{State: smpp.StateDelivered} }
	}
	s := &Server{o: o, log: o.Log, done: make(chan struct{}), conns: make(map[*conn]bool)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.listener, err = net.Listen("tcp", o.Addr); err != nil { //nolint:noctx // it returns at once
		return nil, err
	}
	if o.TLS {
		if err := s.secure(); err != nil {
			s.listener.Close()
			return nil, err
		}
	}
	s.work.Go(s.accept)
	return s, nil
}

// secure makes a certificate and puts TLS before the connections.
func (s *Server) secure() (err error) {
	if s.ca, err = simtls.New("smppsim"); err != nil {
		return err
	}
	pair, err := s.ca.Server()
	if err != nil {
		return err
	}
	s.listener = tls.NewListener(s.listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	return nil
}

// Addr returns the host and port that it listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the address as the driver's configuration has it.
func (s *Server) URL() string {
	if s.ca != nil {
		return "smpps://" + s.Addr()
	}
	return "smpp://" + s.Addr()
}

// SystemID returns the name that a bind must bring.
func (s *Server) SystemID() string { return s.o.SystemID }

// PasswordFile is the name of the file that WriteFiles writes the password
// into.
const PasswordFile = "smpp-password"

// WriteFiles writes the password, and with TLS the files of
// simtls.Authority.WriteFiles, into a folder.
func (s *Server) WriteFiles(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, PasswordFile), []byte(s.o.Password+"\n"), 0o600); err != nil {
		return err
	}
	if s.ca == nil {
		return nil
	}
	return s.ca.WriteFiles(dir, "edition")
}

// Entry returns the keys of an entry of the driver sms that sends to this
// server, with the files that WriteFiles has written. It allows all numbers
// that begin with +34.
func (s *Server) Entry(dir string) map[string]any {
	way := map[string]any{
		"addresses": []any{s.URL()},
		"system_id": s.o.SystemID,
		"password":  map[string]any{"file": filepath.Join(dir, PasswordFile)},
	}
	if s.ca != nil {
		way["tls"] = map[string]any{"ca_file": filepath.Join(dir, simtls.CAFile)}
	}
	return map[string]any{"driver": "sms", "prefixes": []any{"+34"}, "smpp": way}
}

// Bound returns how many connections are bound.
func (s *Server) Bound() int {
	n := 0
	for _, c := range s.all() {
		if c.isBound() {
			n++
		}
	}
	return n
}

// Unbind tells all who are bound that they are not any more.
func (s *Server) Unbind() {
	for _, c := range s.all() {
		c.ask(smpp.Unbind, nil)
	}
}

// Drop closes all connections without a word.
func (s *Server) Drop() {
	for _, c := range s.all() {
		c.net.Close()
	}
}

func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// Close ends the simulator; nothing of it is left.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	s.mu.Unlock()
	err := s.listener.Close()
	s.Drop()
	s.work.Wait()
	return err
}

func (s *Server) accept() {
	for {
		n, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &conn{server: s, net: n, over: make(chan struct{})}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			n.Close()
			return
		}
		s.conns[c] = true
		s.work.Go(c.serve)
		s.mu.Unlock()
	}
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// newID returns the next message_id.
func (s *Server) newID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return fmt.Sprintf("%08x", s.lastID)
}
