// Package webpushsim is a push service as Web Push has them (RFC 8030), and
// the user agents behind it: to try and to test what sends there without the
// Internet.
//
// It promises to take only what a strict push service and user agent would:
// a VAPID token that is signed, for this service and not too long (RFC 8292),
// headers with values that exist, and a message that can be decrypted (RFC
// 8188 and 8291). It keeps no messages for user agents that come later: each
// is handed to OnKick at once.
package webpushsim

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/edition-push/edition/kickdrivers/simtls"
)

// Options of a simulator.
type Options struct {
	Addr string       // to listen on; empty: 127.0.0.1:0
	Log  *slog.Logger // nil: silent
	// VAPIDKey, if not empty, is the public key that all subscriptions are
	// restricted to (RFC 8292, section 4): base64url.
	VAPIDKey string
	// OnKick is called with each kick that was accepted, from the goroutine
	// that answers it; nil: nobody is told.
	OnKick func(Kick)
	// Answer, if not nil, says how to answer a kick that is in order.
	Answer func(Kick) Answer
}

// Kick is one push.
type Kick struct {
	Endpoint string
	TTL      int // seconds
	Urgency  string
	Topic    string
	Subject  string // of the VAPID token
	Data     []byte // decrypted; nil when the push was empty
}

// Answer is how a push is answered. The zero Answer accepts it.
type Answer struct {
	Status int // 0: 201
	Header http.Header
	Body   string
	// Hang leaves the request without an answer until its sender gives up or
	// the simulator is closed.
	Hang bool
}

// Subscription is what a user agent gives to its app: JSON as a browser
// writes it.
type Subscription struct {
	Endpoint string `json:"endpoint"`
	Keys     Keys   `json:"keys"`
}

// Keys are what a message for one user agent is encrypted with.
type Keys struct {
	P256DH string `json:"p256dh"`
	Auth   string `json:"auth"`
}

// Server is a running simulator. Make one with Start.
type Server struct {
	// Fixed after construction.
	o      Options
	log    *slog.Logger
	addr   net.Addr
	ca     *simtls.Authority
	server *http.Server
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	agents map[string]*agent // by the last part of the endpoint
}

// agent is one user agent with a subscription.
type agent struct {
	private *ecdh.PrivateKey
	auth    []byte
	gone    bool
}

// Start listens and serves by TLS, with a certificate of its own making for
// the address, localhost and the loopback addresses. Close the server.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	ca, cert, err := certificate(l.Addr())
	if err != nil {
		l.Close()
		return nil, err
	}
	s := &Server{
		o: o, log: o.Log, addr: l.Addr(), ca: ca,
		done:   make(chan struct{}),
		agents: make(map[string]*agent),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /push/{id}", s.push)
	s.server = &http.Server{
		Handler:           mux,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: time.Minute,
	}
	go func() {
		defer close(s.done)
		if err := s.server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the simulator stopped", "err", err)
		}
	}()
	return s, nil
}

// certificate makes an authority and a certificate for an address and for
// loopback.
func certificate(addr net.Addr) (*simtls.Authority, tls.Certificate, error) {
	ca, err := simtls.New("Web Push simulator CA")
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		hosts = append(hosts, tcp.IP.String())
	}
	cert, err := ca.Server(hosts...)
	return ca, cert, err
}

// Addr is where the simulator listens: host and port.
func (s *Server) Addr() string { return s.addr.String() }

// URL is the origin of all endpoints.
func (s *Server) URL() string { return "https://" + s.Addr() }

// Roots is the authority that signed the simulator's certificate.
func (s *Server) Roots() *x509.CertPool { return s.ca.Pool() }

// Subscribe makes a user agent with a subscription.
func (s *Server) Subscribe() (Subscription, error) {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return Subscription{}, err
	}
	a := &agent{private: private, auth: make([]byte, 16)}
	rand.Read(a.auth) // never fails
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[id] = a
	encode := base64.RawURLEncoding.EncodeToString
	return Subscription{
		Endpoint: s.URL() + "/push/" + id,
		Keys:     Keys{P256DH: encode(private.PublicKey().Bytes()), Auth: encode(a.auth)},
	}, nil
}

// Unsubscribe ends a subscription: pushes to it are answered 410.
func (s *Server) Unsubscribe(endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.agents[endpoint[strings.LastIndexByte(endpoint, '/')+1:]]; a != nil {
		a.gone = true
	}
}

// Close ends the simulator and all that it is doing. It may be called again.
func (s *Server) Close() error {
	s.cancel()
	err := s.server.Close()
	<-s.done
	return err
}

// push answers one push.
func (s *Server) push(w http.ResponseWriter, r *http.Request) {
	kick, refused := s.examine(r)
	if refused != nil {
		s.log.Info("push refused", "status", refused.status, "why", refused.why)
		http.Error(w, refused.why, refused.status)
		return
	}
	var a Answer
	if s.o.Answer != nil {
		a = s.o.Answer(kick)
	}
	if a.Hang {
		select {
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		return
	}
	if a.Status == 0 {
		a.Status = http.StatusCreated
		w.Header().Set("Location", s.URL()+"/message/"+rand.Text())
		w.Header().Set("TTL", r.Header.Get("TTL"))
	}
	if a.Status/100 == 2 {
		s.log.Info("push", "urgency", kick.Urgency, "topic", kick.Topic, "ttl", kick.TTL, "data", string(kick.Data))
		if s.o.OnKick != nil {
			s.o.OnKick(kick)
		}
	}
	maps.Copy(w.Header(), a.Header)
	w.WriteHeader(a.Status)
	io.WriteString(w, a.Body) //nolint:errcheck // the sender has gone
}

// refusal is why a push is not taken.
type refusal struct {
	status int
	why    string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, why: fmt.Sprintf(format, args...)}
}

// find returns the user agent of an endpoint.
func (s *Server) find(id string) (*agent, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch a := s.agents[id]; {
	case a == nil:
		return nil, refuse(http.StatusNotFound, "no such subscription")
	case a.gone:
		return nil, refuse(http.StatusGone, "the subscription has ended")
	default:
		return a, nil
	}
}
