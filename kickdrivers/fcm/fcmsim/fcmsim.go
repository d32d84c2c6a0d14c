// Package fcmsim is a server that answers as Firebase Cloud Messaging and
// Google's token endpoint do, for tests and for trying the driver offline.
//
// It promises to speak HTTPS on a real socket, to give access tokens only to
// who signs with its service account's key, to take messages only with such a
// token and only as Google documents them. It delivers nothing, and knows no
// device: every token of the right form is one, unless Options.Answer says
// otherwise.
package fcmsim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/edition-push/edition/kickdrivers/simtls"
)

// Options of a server. The zero Options are usable.
type Options struct {
	Addr string       // to listen on; empty is 127.0.0.1:0
	Log  *slog.Logger // nil: silent
	// OnKick is told of each message that is accepted. It may be called at
	// once from many goroutines.
	OnKick func(Kick)
	// Project is the only one that there is; empty is edition-sim.
	Project string
	// Key is the service account's; nil: a new one.
	Key *rsa.PrivateKey
	// TokenLife is how long an access token is valid; 0 is an hour.
	TokenLife time.Duration
	// Answer may answer a message that is in order otherwise than by
	// accepting it, TokenAnswer a request for an access token. They may be
	// called at once from many goroutines.
	Answer      func(Kick) Answer
	TokenAnswer func() Answer
}

// Kick is one message.
type Kick struct {
	Token       string
	Data        map[string]string
	Priority    string // NORMAL or HIGH
	TTL         time.Duration
	CollapseKey string
	Body        []byte // of the request, whole
}

// Answer to a request. The zero Answer accepts it.
type Answer struct {
	Status int // 0 is 200
	// Code is the word for what is wrong: of FCM, such as UNREGISTERED, or of
	// OAuth 2.0, such as invalid_grant. Empty: the body is not of FCM.
	Code  string
	Field string // what is wrong with the request, such as message.token
	// RetryAfter, if not 0, is told in whole seconds.
	RetryAfter time.Duration
	Hang       bool // no answer until the sender has given up
	Drop       bool // the connection is cut instead
}

// Server is a running server. Make one with Start and end it with Close.
type Server struct {
	// Fixed after construction.
	options  Options
	log      *slog.Logger
	ca       *simtls.Authority
	listener net.Listener
	http     *http.Server
	ended    chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	tokens map[string]time.Time // access tokens: until when they are valid
}

// The service account.
const (
	account   = "sender@edition-sim.iam.gserviceaccount.com"
	keyID     = "edition-sim-key"
	pathToken = "/token"
	scope     = "https://www.googleapis.com/auth/firebase.messaging"
)

// AccountFile is the name of the service account's key file. The other files
// that WriteFiles writes are named in package simtls.
const AccountFile = "service-account.json"

// connKey is under which a request's context holds its connection.
type connKey struct{}

// Start listens and serves until Close.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Project == "" {
		o.Project = "edition-sim"
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	var err error
	if o.Key == nil {
		if o.Key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, err
		}
	}
	s := &Server{options: o, log: o.Log, ended: make(chan struct{}), tokens: make(map[string]time.Time)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.ca, err = simtls.New("Edition FCM simulator"); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(context.Background(), "tcp", o.Addr); err != nil {
		return nil, err
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if a, ok := s.listener.Addr().(*net.TCPAddr); ok && !a.IP.IsUnspecified() {
		hosts = append(hosts, a.IP.String())
	}
	cert, err := s.ca.Server(hosts...)
	if err != nil {
		s.listener.Close()
		return nil, err
	}
	s.http = &http.Server{
		Handler:           s.routes(),
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}},
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	go func() {
		defer close(s.ended)
		if err := s.http.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the server has ended", "err", err)
		}
	}()
	return s, nil
}

// Addr is host:port of the server.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is the base of the server's addresses, such as https://127.0.0.1:443.
func (s *Server) URL() string { return "https://" + s.Addr() }

// Close cuts all connections and waits for the server's end.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.ended
	return err
}

// ExpireTokens makes every access token given so far an invalid one.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// WriteFiles writes into a folder what a sender needs: the authority to trust
// and the service account's key file. They fit this server alone.
func (s *Server) WriteFiles(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(s.options.Key)
	if err != nil {
		return err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	file, err := json.MarshalIndent(map[string]string{
		"type":           "service_account",
		"project_id":     s.options.Project,
		"private_key_id": keyID,
		"private_key":    string(key),
		"client_email":   account,
		"token_uri":      s.URL() + pathToken,
	}, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		s.ca.WriteFiles(dir, "edition"),
		os.WriteFile(filepath.Join(dir, AccountFile), file, 0o600),
	)
}

// Entry returns the keys of an entry of the driver fcm that sends to this
// server, with the files that WriteFiles has written.
func (s *Server) Entry(dir string) map[string]any {
	return map[string]any{
		"driver":          "fcm",
		"host":            s.URL(),
		"service_account": map[string]any{"file": filepath.Join(dir, AccountFile)},
		"tls":             map[string]any{"ca_file": filepath.Join(dir, simtls.CAFile)},
	}
}
