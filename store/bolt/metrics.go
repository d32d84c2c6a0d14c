package bolt

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of a Store. Counters are safe everywhere; the gauges are Run's.
type metrics struct {
	dropped      *prometheus.CounterVec
	expired      prometheus.Counter // pending events that outlived their TTL
	unregistered prometheus.Counter // pending events of apps that were unregistered

	// Messages for want of room.
	evictedDevice, evictedTotal, refusedDevice, refusedFull prometheus.Counter
	lapsed                                                  prometheus.Counter // registrations that outlived theirs

	commits  prometheus.Counter
	records  prometheus.Counter
	seconds  prometheus.Histogram
	folded   prometheus.Counter
	rows     prometheus.Gauge
	journal  prometheus.Gauge
	failures *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_bolt_events_dropped_total", Help: "Pending events that went undelivered, by reason.",
		}, []string{"reason"}),
		lapsed: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_bolt_registrations_lapsed_total", Help: "Devices forgotten because they were not seen for too long.",
		}),
		commits: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_bolt_commits_total", Help: "Transactions committed.",
		}),
		records: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_bolt_journal_records_total", Help: "Records written to the journal.",
		}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "edition_bolt_commit_seconds", Help: "Time of a commit, with its sync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		folded: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_bolt_folded_rows_total", Help: "Rows written from memory into the tables.",
		}),
		rows: f.NewGauge(prometheus.GaugeOpts{
			Name: "edition_bolt_memory_rows", Help: "Registrations in memory.",
		}),
		journal: f.NewGauge(prometheus.GaugeOpts{
			Name: "edition_bolt_journal_bytes", Help: "Length of the journal.",
		}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_bolt_commit_failures_total", Help: "Commits that failed, by reason.",
		}, []string{"reason"}),
	}
	m.expired = m.dropped.WithLabelValues("expired")
	m.unregistered = m.dropped.WithLabelValues("unregistered")
	m.evictedDevice = m.dropped.WithLabelValues("device_full")
	m.evictedTotal = m.dropped.WithLabelValues("messages_full")
	refused := f.NewCounterVec(prometheus.CounterOpts{
		Name: "edition_bolt_messages_refused_total", Help: "Messages refused for want of room, by reason.",
	}, []string{"reason"})
	m.refusedDevice = refused.WithLabelValues("device_full")
	m.refusedFull = refused.WithLabelValues("messages_full")
	return m
}
