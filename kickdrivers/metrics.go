package kickdrivers

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of a dispatcher. The label driver is an entry's name, outcome an
// Outcome, state a word of the driver.
type metrics struct {
	kicks    *prometheus.CounterVec
	receipts *prometheus.CounterVec
	took     *prometheus.HistogramVec
	acked    *prometheus.HistogramVec
	open     *prometheus.GaugeVec
	full     prometheus.Counter
	mute     prometheus.Counter

	tallies map[string]*[outcomes]tally // by entry. Guarded by Dispatcher.reloading.
}

// tally is a counter that can be read.
type tally struct {
	n     atomic.Uint64
	shown prometheus.Counter
}

func (t *tally) add(n int) {
	t.n.Add(uint64(n))
	t.shown.Add(float64(n))
}

func newMetrics(reg prometheus.Registerer, waiting func() float64) metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "edition_kickdrivers_waiting", Help: "Parties held: waiting for a kick, or for its effect.",
	}, waiting)
	times := prometheus.ExponentialBuckets(0.01, 2.5, 12)
	return metrics{
		kicks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_kickdrivers_kicks_total", Help: "Kicks by what became of them.",
		}, []string{"driver", "outcome"}),
		receipts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_kickdrivers_receipts_total", Help: "What providers told later about kicks that they took.",
		}, []string{"driver", "state"}),
		took: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "edition_kickdrivers_connect_seconds", Help: "Time from a kick until its party connected.", Buckets: times,
		}, []string{"driver"}),
		acked: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "edition_kickdrivers_ack_seconds", Help: "Time from a kick until its party, having connected, acknowledged something.", Buckets: times,
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
		tallies: make(map[string]*[outcomes]tally),
	}
}

func (m metrics) gate(g *gate) {
	g.counts = m.tallies[g.name]
	if g.counts == nil {
		g.counts = new([outcomes]tally)
		for o := range outcomes {
			g.counts[o].shown = m.kicks.WithLabelValues(g.name, o.String())
		}
		m.tallies[g.name] = g.counts
	}
	g.took = m.took.WithLabelValues(g.name)
	g.acked = m.acked.WithLabelValues(g.name)
	g.open = m.open.WithLabelValues(g.name)
}
