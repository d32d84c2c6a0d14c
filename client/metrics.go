package client

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics count what clients do. One Metrics may serve any number of clients.
type Metrics struct {
	connected prometheus.Gauge
	connects  *prometheus.CounterVec
	faults    *prometheus.CounterVec
	updates   prometheus.Counter
	events    prometheus.Counter
}

// NewMetrics registers the metrics edition_client_…; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		connected: f.NewGauge(prometheus.GaugeOpts{
			Name: "edition_client_connected", Help: "Connections to upstream that are up.",
		}),
		connects: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_client_connects_total", Help: "Connections made to upstream, by transport.",
		}, []string{"transport"}),
		faults: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_client_faults_total", Help: "Connections and requests to upstream that failed, by reason.",
		}, []string{"reason"}),
		updates: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_client_updates_total", Help: "UPDATEs taken from upstream.",
		}),
		events: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_client_events_total", Help: "Events in the UPDATEs taken from upstream.",
		}),
	}
}

func (m *Metrics) fault(err error) {
	if r := ReasonOf(err); m != nil && r != "" {
		m.faults.WithLabelValues(string(r)).Inc()
	}
}

func (m *Metrics) up(transport string) {
	if m != nil {
		m.connected.Inc()
		m.connects.WithLabelValues(transport).Inc()
	}
}

func (m *Metrics) down() {
	if m != nil {
		m.connected.Dec()
	}
}

func (m *Metrics) update(events int) {
	if m != nil {
		m.updates.Inc()
		m.events.Add(float64(events))
	}
}
