package relay

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// result is what became of one event from upstream: a label and a log
// attribute.
type result string

const (
	resultStored    result = "stored"    // kept here, upstream was told
	resultDelivered result = "delivered" // the device has it, upstream was told
	resultWithdrawn result = "withdrawn" // a message that is withdrawn here, or below; besides
	resultFailed    result = "failed"    // not kept: not acknowledged, comes again
	resultUnknown   result = "unknown"   // refused: the device never registered here
	resultForeign   result = "foreign"   // refused: the device registered through another upstream
	resultGone      result = "gone"      // refused: the registration has ended
)

// metrics of one upstream; all carry its name as a label.
type metrics struct {
	events        *prometheus.CounterVec
	reported      prometheus.Counter
	reporting     prometheus.Gauge
	registrations *prometheus.CounterVec
	presented     *prometheus.CounterVec
	wakes         *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_relay_events_total", Help: "Events from upstream, by what became of them.",
		}, []string{"result"}),
		reported: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_relay_reported_total", Help: "Deliveries that upstream has confirmed to know.",
		}),
		reporting: f.NewGauge(prometheus.GaugeOpts{
			Name: "edition_relay_reports_outstanding", Help: "Deliveries reported to upstream and not yet confirmed.",
		}),
		registrations: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_relay_registrations_total", Help: "Registrations passed up, by result.",
		}, []string{"result"}),
		presented: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_relay_presented_total", Help: "Devices that upstream was told have shown up here, by result.",
		}, []string{"result"}),
		wakes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_relay_wakes_total", Help: "Requests of upstream to wake a device, by whether it was told what came of them.",
		}, []string{"result"}),
	}
}
