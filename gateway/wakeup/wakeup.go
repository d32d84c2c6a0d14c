// Package wakeup speaks the wake-up API of mobile carriers, so that push
// servers that know it can use this node: as a local node inside a carrier's
// network, which sends a datagram or opens a connection to a device, and as
// the global node in front of several local ones.
//
// It promises to serve only callers whose certificate or address the operator
// has listed, to wake only addresses inside the ranges of a listed network,
// and to send by the dispatcher's entry alone, under its rate, budgets and
// guard. As with the platform whose API this is, 200 says that a request was
// taken; nobody is told whether a device woke up.
//
// The API is that of Telefónica's open-sourced wake-up platform (the
// repositories wakeup_platform_local, _global and _common of telefonicaid on
// GitHub); docs/gateway.md compares the two.
package wakeup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

// Kicks sends kicks. A [kickdrivers.Dispatcher] does.
type Kicks interface {
	Check(kick json.RawMessage, from netip.Addr, size int) (edition.Routes, error)
	Wake(w kickdrivers.Wake) error
}

// Options of a Node. It is a local node when Driver is set, and a global one
// when Networks are.
type Options struct {
	Access Access
	// Kicks sends what this node sends itself, by the entry named Driver,
	// which is one of driver udp.
	Kicks  Kicks
	Driver string
	Global Global

	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: counted, not shown
}

// Paths of the API.
const (
	pathLocal   = "/wakeup"
	pathGlobal  = "/wakeup/v1"
	pathNetInfo = "/netinfo/v1"
	pathStatus  = "/status"
	pathOld     = "/" // of local nodes before there was a platform
)

// Node is an [http.Handler] for the wake-up API. Make one with New; it checks
// its local nodes, and ends, with Run.
type Node struct {
	// Fixed after construction.
	access Access
	kicks  Kicks
	driver string
	global *global // nil: none
	log    *slog.Logger
	m      *metrics

	disabled atomic.Bool // by POST /status

	base    context.Context // of requests to local nodes
	stop    context.CancelFunc
	mu      sync.RWMutex
	closed  bool           // Guarded by mu. No request is taken any more.
	flights sync.WaitGroup // requests to local nodes under way; added to under mu
}

// New returns a node. Faults of its TLS files are edition.ErrConfig.
func New(o Options) (*Node, error) {
	n := &Node{access: o.Access, kicks: o.Kicks, driver: o.Driver, log: o.Log, m: newMetrics(o.Metrics)}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.base, n.stop = context.WithCancel(context.Background())
	if len(o.Global.Networks) > 0 {
		var err error
		if n.global, err = newGlobal(o.Global, n.m); err != nil {
			return nil, fmt.Errorf("%w: %w", edition.ErrConfig, err)
		}
	}
	return n, nil
}

// lastForwards is how long requests to local nodes may still take at the end.
const lastForwards = 2 * time.Second

// Run checks the local nodes until ctx ends, and then waits a little for
// requests to them that are under way.
func (n *Node) Run(ctx context.Context) error {
	defer n.stop()
	if n.global != nil {
		n.global.watch(ctx, n.log)
	}
	<-ctx.Done()
	n.Drain()
	defer time.AfterFunc(lastForwards, n.stop).Stop()
	n.flights.Wait()
	if n.global != nil {
		n.global.client.CloseIdleConnections()
	}
	return nil
}

// Drain refuses requests from now on, with 503.
func (n *Node) Drain() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
}

// fly runs do beside, unless the node is closed.
func (n *Node) fly(do func()) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.closed {
		return false
	}
	n.flights.Go(do)
	return true
}

func (n *Node) draining() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.closed
}

// ServeHTTP answers the wake-up API in plain text.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer n.rescue(w)
	q := &request{Request: r, tracking: trackingID(r)}
	w.Header().Set("X-Tracking-ID", q.tracking)
	path := r.URL.Path
	if path != pathOld {
		path = strings.TrimSuffix(path, "/")
	}
	a := n.answer(w, q, path)
	node := "local"
	if path == pathGlobal {
		node = "global"
	}
	if path == pathGlobal || path == pathLocal || path == pathOld {
		n.m.request(node, a.status)
		n.log.Debug("wakeup", "node", node, "tracking_id", q.tracking, "status", a.status, "reason", a.text)
	}
	a.write(w, r)
}

func (n *Node) answer(w http.ResponseWriter, q *request, path string) answer {
	var methods string
	var do func(*request) answer
	switch {
	case path == pathStatus:
		methods, do = "GET, HEAD, POST", n.status
	case path == pathGlobal && n.global != nil:
		methods, do = "POST", n.wakeGlobal
	case path == pathNetInfo && n.global != nil:
		methods, do = "GET, HEAD", n.netInfo
	case (path == pathLocal || path == pathOld && q.URL.RawQuery != "") && n.driver != "":
		methods, do = "GET, POST", n.wakeLocal
	default:
		return answer{status: http.StatusNotFound, text: "Not found"}
	}
	w.Header().Set("Allow", methods+", OPTIONS")
	// Whether the node is up is no secret: load balancers ask for it.
	if open := path == pathStatus && q.Method != http.MethodPost; !open {
		var ok bool
		if q.cert, ok = n.access.admit(q.Request); !ok {
			return answer{status: http.StatusBadRequest, text: "Client certificate not accepted"}
		}
	}
	switch {
	case q.Method == http.MethodOptions:
		return answer{status: http.StatusOK}
	case !slices.Contains(strings.Split(methods, ", "), q.Method):
		return answer{status: http.StatusMethodNotAllowed, text: "Bad method, there is " + methods}
	}
	return do(q)
}

// status tells whether the node wants requests, and with enable=false makes it
// tell that it wants none: load balancers then go elsewhere, and those who
// come are still served.
func (n *Node) status(q *request) answer {
	if q.Method == http.MethodPost {
		form, refused := q.form()
		if form == nil {
			return refused
		}
		switch form.Get("enable") {
		case "true":
			n.disabled.Store(false)
		case "false":
			n.disabled.Store(true)
		default:
			return bad("enable is neither true nor false")
		}
		n.log.Info("the wake-up node was enabled or disabled", "enabled", !n.disabled.Load(), "tracking_id", q.tracking)
		return answer{status: http.StatusOK}
	}
	if n.disabled.Load() || n.draining() {
		return answer{status: http.StatusServiceUnavailable, text: "Not available"}
	}
	return answer{status: http.StatusOK, text: "OK"}
}

// netInfo lists the networks and their state.
func (n *Node) netInfo(*request) answer {
	body, err := json.Marshal(map[string]any{"nets": n.global.info()})
	if err != nil {
		return answer{status: http.StatusInternalServerError, text: "Internal error"}
	}
	return answer{status: http.StatusOK, text: string(body), kind: "application/json"}
}

// wakeLocal has this node wake a device.
func (n *Node) wakeLocal(q *request) answer {
	form, refused := q.form()
	if form == nil {
		return refused
	}
	t, err := parseTarget(form)
	if err != nil {
		return bad(err.Error())
	}
	return n.send(q, t)
}

// send has the dispatcher send one kick. The platform vouches for the address,
// so for the driver the device is where it is said to be, and no code has to be
// repeated here; the driver's networks and ports are still those of its
// configuration.
func (n *Node) send(q *request, t target) answer {
	if n.draining() {
		return unavailable("Shutting down", 0)
	}
	kick, err := json.Marshal(map[string]any{"driver": n.driver, "ip": t.ip, "port": t.port, "proto": t.protocol()})
	if err != nil {
		return bad(err.Error())
	}
	routes, err := n.kicks.Check(kick, t.ip, q.size())
	if err != nil {
		return bad(err.Error())
	}
	err = n.kicks.Wake(kickdrivers.Wake{Routes: routes, Confirm: t.confirm, Report: func(r kickdrivers.Result) {
		n.m.sent(r.Outcome.String())
		n.log.Debug("woken", "tracking_id", q.tracking, "outcome", r.Outcome.String(), "err", r.Err)
	}})
	if err != nil {
		retry, _ := errors.AsType[*edition.RetryError](err)
		if retry == nil {
			retry = new(edition.RetryError)
		}
		return unavailable("Not available: "+err.Error(), retry.After)
	}
	return taken
}

// rescue keeps a fault in one request from ending more than that request.
func (n *Node) rescue(w http.ResponseWriter) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
		panic(fault)
	}
	n.log.Error("panic", "fault", fault, "stack", string(debug.Stack()))
	http.Error(w, "Internal error", http.StatusInternalServerError)
}
