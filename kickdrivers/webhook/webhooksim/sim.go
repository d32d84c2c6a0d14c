// Package webhooksim is a receiver of the webhook driver's kicks, as an
// operator would write one: to try and to test the driver without one.
//
// It promises to take only what the standard-webhooks library verifies, and
// bodies of the documented form without anything else in them. It wakes
// nobody: each kick is handed to OnKick.
package webhooksim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Options of a simulator.
type Options struct {
	// Addr is what to listen on: host and port, or unix:/path; empty:
	// 127.0.0.1:0.
	Addr string
	Log  *slog.Logger // nil: silent
	// Secret is whsec_ and base64; empty: a new one.
	Secret string
	// OnKick is called with each kick that was accepted, from the goroutine
	// that answers it; nil: nobody is told.
	OnKick func(Kick)
	// Answer, if not nil, says how to answer a kick, alone or within a batch.
	Answer func(Kick) Answer
	// Request, if not nil, is asked before the kicks of a request are looked
	// at; an answer that is not zero is the whole request's.
	Request func(kicks int) Answer
}

// Kick is one kick.
type Kick struct {
	Message string // the id of the request that carried it
	Batched bool
	ID      string // of the device's target
	Data    map[string]any
	Confirm string
}

// Answer is how a kick or a request is answered. The zero Answer accepts.
type Answer struct {
	Status     int // 0: 204, in a batch 200
	RetryAfter int // seconds; 0: nothing is said
	Header     http.Header
	Body       string
	// Hang leaves the request without an answer until its sender gives up or
	// the simulator is closed.
	Hang bool
}

// FileSecret is what WriteFiles writes: the secret.
const FileSecret = "webhook.secret"

// maxBody is what is read of a request, in bytes.
const maxBody = 1 << 20

// Server is a running simulator. Make one with Start.
type Server struct {
	// Fixed after construction.
	o      Options
	log    *slog.Logger
	url    string
	secret string
	verify *standardwebhooks.Webhook
	server *http.Server
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{}
}

// Start listens and serves. Close the server.
func Start(o Options) (*Server, error) {
	s := &Server{o: o, log: o.Log, secret: o.Secret, done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.secret == "" {
		key := make([]byte, 32)
		rand.Read(key) // never fails
		s.secret = "whsec_" + base64.StdEncoding.EncodeToString(key)
	}
	var err error
	if s.verify, err = standardwebhooks.NewWebhook(s.secret); err != nil {
		return nil, errors.New("the secret is not whsec_ and base64")
	}
	network, addr := "tcp", o.Addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	} else if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	if s.url = o.Addr; network == "tcp" {
		s.url = "http://" + l.Addr().String() + "/"
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", s.receive)
	s.server = &http.Server{
		Handler:           mux,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: time.Minute,
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the simulator stopped", "err", err)
		}
	}()
	return s, nil
}

// URL is what to write into the driver's configuration.
func (s *Server) URL() string { return s.url }

// Secret is what requests have to be signed with.
func (s *Server) Secret() string { return s.secret }

// WriteFiles writes the secret into a folder.
func (s *Server) WriteFiles(dir string) error {
	return os.WriteFile(filepath.Join(dir, FileSecret), []byte(s.secret+"\n"), 0o600)
}

// Entry returns the keys of an entry of the driver webhook that posts to this
// server, with the file that WriteFiles has written.
func (s *Server) Entry(dir string) map[string]any {
	return map[string]any{
		"driver":  "webhook",
		"url":     s.url,
		"secrets": []any{map[string]any{"file": filepath.Join(dir, FileSecret)}},
	}
}

// Close ends the simulator and all that it is doing. It may be called again.
func (s *Server) Close() error {
	s.cancel()
	err := s.server.Close()
	<-s.done
	return err
}

// receive answers one request.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		s.refuse(w, http.StatusRequestEntityTooLarge, "the body broke off or is too large", err)
		return
	}
	if err := s.verify.Verify(body, r.Header); err != nil {
		s.refuse(w, http.StatusUnauthorized, "the signature is not right", err)
		return
	}
	kicks, err := read(body, r.Header)
	if err != nil {
		s.refuse(w, http.StatusBadRequest, "the body is not of the documented form", err)
		return
	}
	if s.o.Request != nil {
		if a := s.o.Request(len(kicks)); a.Status != 0 || a.Hang {
			s.write(w, r, a)
			return
		}
	}
	if !kicks[0].Batched {
		s.write(w, r, s.take(kicks[0]))
		return
	}
	type result struct {
		Status     int `json:"status"`
		RetryAfter int `json:"retry_after,omitempty"`
	}
	var answer struct {
		Results []result `json:"results"`
	}
	for _, k := range kicks {
		a := s.take(k)
		if a.Hang {
			s.write(w, r, a)
			return
		}
		if a.Status == 0 {
			a.Status = http.StatusOK
		}
		answer.Results = append(answer.Results, result{Status: a.Status, RetryAfter: a.RetryAfter})
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer) //nolint:errcheck // the sender has gone
}

func (s *Server) refuse(w http.ResponseWriter, status int, why string, err error) {
	s.log.Info("request refused", "status", status, "why", why, "err", err)
	http.Error(w, why, status)
}

// take hands on a kick unless its answer is to be another.
func (s *Server) take(k Kick) (a Answer) {
	if s.o.Answer != nil {
		a = s.o.Answer(k)
	}
	if a.Hang || a.Status != 0 && a.Status/100 != 2 {
		return a
	}
	s.log.Info("kick", "id", k.ID, "data", k.Data, "confirm", k.Confirm, "message", k.Message)
	if s.o.OnKick != nil {
		s.o.OnKick(k)
	}
	return a
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, a Answer) {
	if a.Hang {
		select {
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		return
	}
	maps.Copy(w.Header(), a.Header)
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	if a.Status == 0 {
		a.Status = http.StatusNoContent
	}
	w.WriteHeader(a.Status)
	io.WriteString(w, a.Body) //nolint:errcheck // the sender has gone
}

// item is one kick in a body.
type item struct {
	Target struct {
		ID   string         `json:"id"`
		Data map[string]any `json:"data"`
	} `json:"target"`
	Confirm string `json:"confirm"`
}

// read returns the kicks of a body: at least one.
func read(body []byte, h http.Header) ([]Kick, error) {
	if t := h.Get("Content-Type"); t != "application/json" {
		return nil, fmt.Errorf("the content type is %.40q", t)
	}
	var e struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	if err := strict(body, &e); err != nil {
		return nil, err
	}
	var items []item
	var err error
	switch e.Type {
	case "kick":
		items = make([]item, 1)
		err = strict(e.Data, &items[0])
	case "kicks":
		err = strict(e.Data, &items)
	default:
		err = fmt.Errorf("the type is %.40q", e.Type)
	}
	if err == nil && (len(items) == 0 || e.Timestamp.IsZero()) {
		err = errors.New("there is no kick, or no time")
	}
	kicks := make([]Kick, len(items))
	for i, it := range items {
		if it.Target.ID == "" {
			err = errors.New("a kick has no target")
		}
		kicks[i] = Kick{
			Message: h.Get(standardwebhooks.HeaderWebhookID), Batched: e.Type == "kicks",
			ID: it.Target.ID, Data: it.Target.Data, Confirm: it.Confirm,
		}
	}
	return kicks, err
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
