package serve

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/httpconn"
	"github.com/edition-push/edition/wire"
)

// Door sends a request to who answers it, by its path.
type Door struct {
	Role    string
	Devices http.Handler // devices and relays
	Apps    http.Handler // app servers; nil on a relay, whose endpoints are its upstream's
}

func (d Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, wire.PathEndpoint) || path == wire.PathEvents && !asksForStream(r),
		strings.HasPrefix(path, wire.PathMessage), strings.HasPrefix(path, wire.PathReceipt):
		if d.Apps == nil {
			wire.WriteProblem(w, fmt.Errorf("%w: this is a relay; endpoints are at its upstream", edition.ErrNotFound))
			return
		}
		d.Apps.ServeHTTP(w, r)
	case path == wire.PathRoot && !websocket.IsWebSocketUpgrade(r):
		d.welcome(w, r)
	default:
		d.Devices.ServeHTTP(w, r)
	}
}

// asksForStream tells a device's GET /v1/events, and what a browser asks before
// it, from an app server's POST.
func asksForStream(r *http.Request) bool {
	return r.Method == http.MethodGet ||
		r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") == http.MethodGet
}

func (d Door) welcome(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		wire.WriteProblem(w, fmt.Errorf("%w: GET shows what this is", edition.ErrMethod))
		return
	}
	apps := "PUT or POST to the endpoint that a device was given."
	if d.Apps == nil {
		apps = "this is a relay; endpoints are at the server above it."
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, welcomeText, d.Role, wire.PathWebSocket, wire.Subprotocol, wire.PathUpdate, wire.PathEvents, wire.PathRoot, apps) //nolint:errcheck // the peer may have gone
}

// welcomeText names the ways in by their paths: behind a proxy this process
// does not know its own address.
const welcomeText = `edition %s: a push-signalling service.

Devices:        WebSocket at %s (%s), or POST %s over plain HTTP
Event streams:  GET %s (text/event-stream)
Browsers and SimplePush devices:  WebSocket at %s, this very address
App servers:    %s

See docs/protocol.md of github.com/edition-push/edition.
`

// Times and sizes of the device door. A whole request, with its body, may
// take longer than the longest poll and no more; handlers that stream set
// their own deadlines.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = wire.MaxWait + 30*time.Second
	idleTimeout       = 2 * time.Minute
	maxHeader         = 8 << 10
)

func newHTTP(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           readRest(h),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       httpconn.Context,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
