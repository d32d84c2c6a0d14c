package serve

import (
	"fmt"
	"io"
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
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "edition "+d.Role+": a push-signalling service. Devices connect to "+wire.PathWebSocket+ //nolint:errcheck // the peer may have gone
		"; see docs/protocol.md of github.com/edition-push/edition.\n")
}

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
