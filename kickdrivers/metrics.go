package kickdrivers

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of a dispatcher. The label driver is an entry's name, outcome an
// Outcome.
type metrics struct {
	kicks *prometheus.CounterVec
	took  *prometheus.HistogramVec
	open  *prometheus.GaugeVec
	full  prometheus.Counter
	mute  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, waiting func() float64) metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "edition_kickdrivers_waiting", Help: "Parties held: waiting for a kick, or for its effect.",
	}, waiting)
	return metrics{
		kicks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_kickdrivers_kicks_total", Help: "Kicks by what became of them.",
		}, []string{"driver", "outcome"}),
		took: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "edition_kickdrivers_connect_seconds", Help: "Time from a kick until its party connected.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 12),
		}, []string{"driver"}),
		open: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "edition_kickdrivers_breaker_open", Help: "1 while the driver's provider is taken to be down.",
		}, []string{"driver"}),
		full: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_kickdrivers_full_total", Help: "Parties not taken because too many were waiting for a first kick.",
		}),
		mute: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_kickdrivers_no_route_total", Help: "Parties due that have told no way to kick them.",
		}),
	}
}

func (m metrics) gate(g *gate) {
	for o := range outcomes {
		g.counts[o] = m.kicks.WithLabelValues(g.name, o.String())
	}
	g.took = m.took.WithLabelValues(g.name)
	g.open = m.open.WithLabelValues(g.name)
}
