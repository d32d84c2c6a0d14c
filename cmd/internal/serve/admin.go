package serve

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/edition-push/edition/wire"
)

// newRegistry makes a registry of this process's own.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// readiness is the body of /readyz.
type readiness struct {
	Status    string `json:"status"` // ready or unready
	Store     string `json:"store"`  // ok, or what is wrong
	Draining  bool   `json:"draining,omitempty"`
	Upstreams any    `json:"upstreams,omitempty"`
}

// admin answers on the private listener. A relay whose upstream is away stays
// ready: it serves its devices.
func (n *Node) admin(p Parts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n")) //nolint:errcheck // the peer may have gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := readiness{Status: "ready", Store: "ok", Draining: n.draining.Load()}
		if err := n.Store.Err(); err != nil {
			r.Status, r.Store = "unready", err.Error()
		}
		if r.Draining {
			r.Status = "unready"
		}
		if p.Upstreams != nil {
			r.Upstreams = p.Upstreams()
		}
		w.Header().Set("Content-Type", "application/json")
		if r.Status != "ready" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(r) //nolint:errcheck // the peer may have gone
	})
	mux.HandleFunc("GET /kicks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(p.Kicks.Entries()) //nolint:errcheck // the peer may have gone
	})
	mux.HandleFunc("GET /kicks/{id}", func(w http.ResponseWriter, r *http.Request) {
		if p.Gateway == nil {
			http.NotFound(w, r)
			return
		}
		s, err := p.Gateway.Outcome(r.PathValue("id"))
		if err != nil {
			wire.WriteProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s) //nolint:errcheck // the peer may have gone
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.Metrics, promhttp.HandlerOpts{Registry: n.Metrics}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
