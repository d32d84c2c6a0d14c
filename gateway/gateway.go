// Package gateway lets programs outside ask for one kick now: POST /v1/kicks,
// by a device's UAID or by an explicit route, and GET /v1/kicks/{id} for what
// became of it.
//
// It promises that only a caller who has proven itself is served, that a
// caller reaches no driver and no network but those that the operator has
// listed for it, beneath all that the drivers themselves refuse; that nobody
// sees another's kicks; and that what it keeps is bounded in time and number.
// It sends nothing itself and has no retries: kicks are the dispatcher's.
package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/wire"
)

// Kicks sends kicks. A [kickdrivers.Dispatcher] does.
type Kicks interface {
	Check(kick json.RawMessage, from netip.Addr, size int) (edition.Routes, error)
	Wake(w kickdrivers.Wake) error
}

// Options of a Gateway.
type Options struct {
	Kicks Kicks
	// Routes returns how a device is kicked, none for one that is unknown.
	Routes  func(edition.Holder) (edition.Routes, error)
	Callers []Caller // at first, see Gateway.Reload
	// Upstream is what an upstream may ask of this relay over the relay's own
	// connection (Wake); without drivers it is nothing.
	Upstream Rights
	// Keep is how long an outcome can be asked for, Outcomes how many of each
	// caller are kept: the oldest make room. 0 is 10 minutes, and 10,000.
	Keep     time.Duration
	Outcomes int
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: counted, not shown
}

// Caller is a program that may ask for kicks. It proves itself by a bearer
// token or by a client certificate.
type Caller struct {
	Name string
	// Tokens are those of which it shows one, as "Authorization: Bearer …":
	// one as a rule, two while the old one gives way to the new one. None: not
	// by token.
	Tokens   []string
	CertName string // common name or DNS name of its client certificate; empty: not by certificate
	Rights
}

// Rights are what a caller may ask for.
type Rights struct {
	// Drivers are the names of the entries that it may use.
	Drivers []string
	// Networks are where a target that names an IP address must lie; none:
	// wherever the driver allows.
	Networks []netip.Prefix
	// Confirmed says that the caller has its routes confirmed itself: it may
	// use drivers that demand it with explicit routes.
	Confirmed bool
	// Rate is the kicks a second that it may ask for, Burst how many at once;
	// a Rate of 0 is no limit.
	Rate  float64
	Burst int
}

const (
	defaultKeep     = 10 * time.Minute
	defaultOutcomes = 10_000
	// maxBody bounds a request: a kick is at most 4 KiB.
	maxBody = 8 << 10
	// bodyTime bounds how long a body may take to arrive.
	bodyTime = 10 * time.Second
)

// Gateway is an [http.Handler] for wire.PathKicks and below. Make one with New.
type Gateway struct {
	// Fixed after construction.
	kicks    Kicks
	routes   func(edition.Holder) (edition.Routes, error)
	upstream *caller
	guesses  *guesses
	kept     *outcomes
	log      *slog.Logger
	m        *metrics

	callers  atomic.Pointer[[]*caller] // see Reload
	draining atomic.Bool
}

// New returns a gateway. Nothing happens until it is given requests.
func New(o Options) *Gateway {
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	if o.Outcomes == 0 {
		o.Outcomes = defaultOutcomes
	}
	g := &Gateway{
		kicks: o.Kicks, routes: o.Routes, log: o.Log,
		guesses: newGuesses(), kept: newOutcomes(o.Keep, o.Outcomes),
		upstream: newCaller(Caller{Name: "upstream", Rights: o.Upstream}, nil),
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.callers.Store(new([]*caller))
	g.Reload(o.Callers)
	g.m = newMetrics(o.Metrics, g.kept.size)
	return g
}

// Drain refuses kicks from now on. Outcomes can still be asked for.
func (g *Gateway) Drain() { g.draining.Store(true) }

// ServeHTTP answers POST /v1/kicks and GET /v1/kicks/{id}. What is wrong is
// answered as a problem document (RFC 9457).
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer g.rescue(w)
	c, err := g.authenticate(r)
	if err != nil {
		g.refuse(w, "", err)
		return
	}
	id, below := strings.CutPrefix(r.URL.Path, wire.PathKicks+"/")
	switch {
	case r.URL.Path == wire.PathKicks:
		if allow(w, r, http.MethodPost) {
			g.post(w, r, c)
		}
	case below && id != "":
		if allow(w, r, http.MethodGet, http.MethodHead) {
			g.get(w, c, id)
		}
	default:
		wire.WriteProblem(w, fmt.Errorf("%w: no such path", edition.ErrNotFound))
	}
}

// allow answers a method that a path does not have.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	list := strings.Join(methods, ", ")
	w.Header().Set("Allow", list)
	wire.WriteProblem(w, fmt.Errorf("%w: there is %s", edition.ErrMethod, list))
	return false
}

// refuse answers a request that failed, and counts why.
func (g *Gateway) refuse(w http.ResponseWriter, caller string, err error) {
	g.m.requests.WithLabelValues(caller, reasonOf(err)).Inc()
	wire.WriteProblem(w, err)
}

// post starts a kick: 202, with where to ask for its outcome.
func (g *Gateway) post(w http.ResponseWriter, r *http.Request, c *caller) {
	state, err := g.accept(w, r, c)
	if err != nil {
		g.log.Debug("a kick is refused", "caller", c.Name, "err", err)
		g.refuse(w, c.Name, err)
		return
	}
	g.m.requests.WithLabelValues(c.Name, accepted).Inc()
	w.Header().Set("Location", wire.PathKicks+"/"+state.ID)
	answer(w, http.StatusAccepted, state)
}

func (g *Gateway) accept(w http.ResponseWriter, r *http.Request, c *caller) (wire.WakeState, error) {
	if g.draining.Load() {
		return wire.WakeState{}, errDraining
	}
	if err := c.take(); err != nil {
		return wire.WakeState{}, err
	}
	req, size, err := readRequest(w, r)
	if err != nil {
		return wire.WakeState{}, err
	}
	k, err := g.start(c, req, size)
	if err != nil {
		return wire.WakeState{}, err
	}
	// Whatever has become of it by now, this answer says where to look.
	return wire.WakeState{ID: k.id, State: stateWaiting, Since: k.since}, nil
}

func (g *Gateway) get(w http.ResponseWriter, c *caller, id string) {
	k := g.kept.get(id)
	if k == nil || k.caller.party != c.party {
		wire.WriteProblem(w, fmt.Errorf("%w: no such kick of this caller, or it is no longer kept", edition.ErrNotFound))
		return
	}
	answer(w, http.StatusOK, k.state())
}

// Outcome returns what became of a kick, whoever asked for it, or
// edition.ErrNotFound. It is for the operator's eyes.
func (g *Gateway) Outcome(id string) (wire.WakeState, error) {
	if k := g.kept.get(id); k != nil {
		return k.state(), nil
	}
	return wire.WakeState{}, fmt.Errorf("%w: no such kick, or it is no longer kept", edition.ErrNotFound)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the peer may have gone
}

// rescue keeps a fault in one request from ending more than that request.
func (g *Gateway) rescue(w http.ResponseWriter) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
		panic(fault)
	}
	g.log.Error("panic", "fault", fault, "stack", string(debug.Stack()))
	wire.WriteProblem(w, errors.New("a fault of the gateway"))
}

var errDraining = edition.RetryAfter(fmt.Errorf("%w: shutting down", edition.ErrUnavailable), 5*time.Second)
