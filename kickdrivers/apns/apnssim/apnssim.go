// Package apnssim is a server that answers as the Apple Push Notification
// service does, for tests and for trying the driver offline.
//
// It promises to speak HTTP/2 over TLS on a real socket, to check who sends
// and how a push is written as Apple documents it, and to accept what Apple
// would accept. It delivers nothing, and knows no device: every well-formed
// token is one, unless Options.Answer says otherwise.
package apnssim

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options of a server. The zero Options are usable.
type Options struct {
	Addr string       // to listen on; empty is 127.0.0.1:0
	Log  *slog.Logger // nil: silent
	// OnKick is told of each push that is accepted. It may be called at once
	// from many goroutines.
	OnKick func(Kick)
	// Topics are the apps that the sender may push to; nil is Topic alone.
	Topics []string
	// Answer may answer a push that is in order otherwise than by accepting
	// it. It may be called at once from many goroutines.
	Answer func(Kick) Answer
	// Streams is how many requests a connection takes at once; 0 is 1000.
	Streams int
}

// Topic is the app that the sender may push to by default.
const Topic = "com.example.app"

// Kick is one push.
type Kick struct {
	ID         string // made here when the sender gave none
	Token      string
	Topic      string
	PushType   string
	Priority   int
	Expiration time.Time // zero: now or never
	CollapseID string
	Body       []byte
}

// Answer to a push. The zero Answer accepts it.
type Answer struct {
	Status    int       // 0 is 200
	Reason    string    // a word of Apple's table
	Timestamp time.Time // with status 410: since when the token is invalid
	// RetryAfter, if not 0, is told in whole seconds.
	RetryAfter time.Duration
	Hang       bool // no answer until the sender has given up
	Drop       bool // the connection is cut instead
	Goodbye    bool // no more requests are taken on this connection after this one (GOAWAY)
}

// Server is a running server. Make one with Start and end it with Close.
type Server struct {
	// Fixed after construction.
	options  Options
	log      *slog.Logger
	secrets  secrets
	listener net.Listener
	http     *http.Server
	ended    chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	open, total, most int                  // connections
	bearers           map[string]time.Time // provider tokens that have been verified: when they were made
}

// connKey is under which a request's context holds its connection.
type connKey struct{}

// Start listens and serves until Close.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Topics == nil {
		o.Topics = []string{Topic}
	}
	if o.Streams == 0 {
		o.Streams = 1000
	}
	s := &Server{options: o, log: o.Log, ended: make(chan struct{}), bearers: make(map[string]time.Time)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if len(o.Topics) == 0 {
		return nil, errors.New("no topics")
	}
	var lc net.ListenConfig
	var err error
	if s.listener, err = lc.Listen(context.Background(), "tcp", o.Addr); err != nil {
		return nil, err
	}
	if s.secrets, err = newSecrets(s.listener.Addr()); err != nil {
		s.listener.Close()
		return nil, err
	}
	only := new(http.Protocols)
	only.SetHTTP2(true)
	s.http = &http.Server{
		Handler:           s,
		Protocols:         only,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: o.Streams},
		ConnState:         s.count,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{s.secrets.server},
			ClientAuth:   tls.RequestClientCert, // who sends none needs a token
		},
	}
	go func() {
		defer close(s.ended)
		if err := s.http.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the server has ended", "err", err)
		}
	}()
	return s, nil
}

// Addr is host:port of the server, URL its base.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is the base of the server's addresses, such as https://127.0.0.1:443.
func (s *Server) URL() string { return "https://" + s.Addr() }

// Close cuts all connections and waits for the server's end.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.ended
	return err
}

// Connections returns how many connections there have been, and how many at
// once at most.
func (s *Server) Connections() (total, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total, s.most
}

func (s *Server) count(_ net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.total++
		s.open++
		s.most = max(s.most, s.open)
	case http.StateClosed, http.StateHijacked:
		s.open--
	}
}

// ExpireTokens makes every provider token that has been seen an expired one.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := range s.bearers {
		s.bearers[b] = time.Time{}
	}
}
