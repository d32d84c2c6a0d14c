package session

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/internal/patience"
	"github.com/edition-push/edition/wire"
)

// Options of a Server.
type Options struct {
	Hub       *hub.Hub
	Store     edition.Store
	Registrar edition.Registrar
	Relays    []Relay // at first, see Server.Reload
	// CheckKick turns what a device says about how to wake it into routes, or
	// says why the operator does not allow them. from is the device's address,
	// size that of its message in bytes. nil: nobody can be kicked.
	CheckKick func(kick json.RawMessage, from netip.Addr, size int) (edition.Routes, error)
	// Way returns the ID of this store and those of the stores above it: a
	// relay with one of them is this one's upstream, and cannot be below it.
	// nil: nothing is above.
	Way func() []string
	// Challenge, if not nil, has codes sent to the routes of a device or relay
	// that wait for one. It must not block.
	Challenge func(who edition.Holder)
	// Wakeable reports whether a device can be woken by one of its routes, so
	// surely that it need not stay connected. nil: none can.
	Wakeable func(edition.Routes) bool
	// Talk, if not nil, translates for devices that speak another protocol:
	// those that ask for the subprotocol push-notification, or for none at
	// wire.PathRoot.
	Talk    func(*Device) Talk
	Limits  Limits
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: counted, not shown
}

// Server is the device door: an [http.Handler] for the device paths of package
// wire. Make one with New; it does its timed work, and ends, with Run.
type Server struct {
	// Fixed after construction.
	hub       *hub.Hub
	store     edition.Store
	registrar edition.Registrar
	checkKick func(json.RawMessage, netip.Addr, int) (edition.Routes, error)
	way       func() []string
	sendCodes func(edition.Holder)
	wakeable  func(edition.Routes) bool
	talk      func(*Device) Talk
	limits    Limits
	log       *slog.Logger
	m         *metrics
	upgrader  websocket.Upgrader
	rates     *rates // of registrations
	guesses   *rates // of codes
	started   time.Time

	roster atomic.Pointer[roster] // see Reload

	patience *patience.Patience // with the work of one message; ends with Run
	stop     context.CancelFunc
	wheel    wheel
	now      atomic.Int64 // coarse time since started, kept by the wheel
	draining chan struct{}
	spread   atomic.Int64 // over how long a drain spreads its closes
	streams  streams
	drain    sync.Once
	conns    sync.WaitGroup // goroutines of connections
}

// New returns a server. Nothing happens until it is given requests.
func New(o Options) *Server {
	s := &Server{
		hub: o.Hub, store: o.Store, registrar: o.Registrar, checkKick: o.CheckKick,
		way: o.Way, sendCodes: o.Challenge, wakeable: o.Wakeable, talk: o.Talk, limits: o.Limits.withDefaults(), log: o.Log, m: newMetrics(o.Metrics),
		started: time.Now(), draining: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.way == nil {
		s.way = func() []string { return []string{s.store.ID()} }
	}
	s.roster.Store(newRoster(o.Relays, nil))
	base, stop := context.WithCancel(context.Background())
	s.patience, s.stop = patience.New(base, workTime), stop
	s.rates = newRates("registrations", s.limits.RegisterRate, s.limits.RegisterBurst)
	s.guesses = newRates("codes", guessRate, guessBurst)
	if s.upgrader = newUpgrader(wire.Subprotocol); s.talk != nil {
		s.upgrader.Subprotocols = append(s.upgrader.Subprotocols, wire.SubprotocolSimplePush)
	}
	return s
}

// ServeHTTP answers the device paths of package wire. What a path's method,
// content type or body does wrong is answered as a problem document (RFC 9457).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.rescue(w, r)
	switch r.URL.Path {
	case wire.PathWebSocket, wire.PathRoot:
		s.webSocket(w, r)
		return
	default:
		if answered := cors(w, r); answered {
			return
		}
	}
	switch r.URL.Path {
	case wire.PathEvents:
		s.events(w, r)
	case wire.PathUpdate:
		s.post(w, r, wire.TypeUpdate, s.restUpdate)
	case wire.PathAck:
		s.post(w, r, wire.TypeAck, s.restAck)
	case wire.PathRegister:
		s.post(w, r, wire.TypeRegister, s.restRegister)
	case wire.PathUnregister:
		s.post(w, r, wire.TypeUnregister, s.restUnregister)
	case wire.PathKick:
		s.post(w, r, wire.TypeKick, s.restKick)
	default:
		wire.WriteProblem(w, fmt.Errorf("%w: no such path", edition.ErrNotFound))
	}
}

// rescue keeps a fault in one request from ending more than that request.
func (s *Server) rescue(w http.ResponseWriter, r *http.Request) {
	if fault := recover(); fault != nil {
		if fault == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
			panic(fault)
		}
		s.panicked(fault, r.URL.Path)
		wire.WriteProblem(w, fmt.Errorf("a fault of the server")) //nolint:err113 // shown as 500
	}
}

func (s *Server) panicked(fault any, where string) {
	s.m.panics.Inc()
	s.log.Error("panic", "fault", fault, "where", where, "stack", string(debug.Stack()))
}

// clock returns the coarse time since the server was made. It moves with the
// wheel's ticks.
func (s *Server) clock() time.Duration { return time.Duration(s.now.Load()) }

func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}
