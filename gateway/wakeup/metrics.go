package wakeup

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests *prometheus.CounterVec
	kicks    *prometheus.CounterVec
	forwards *prometheus.CounterVec
	up       *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_gateway_wakeup_requests_total", Help: "Requests of the carriers' wake-up API, by node (local, global) and status.",
		}, []string{"node", "status"}),
		kicks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_gateway_wakeup_kicks_total", Help: "What became of the kicks that the wake-up API had this node send.",
		}, []string{"outcome"}),
		forwards: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_gateway_wakeup_forwards_total", Help: "Requests handed to local nodes, by network and result (accepted, refused, failed, full).",
		}, []string{"netid", "result"}),
		up: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "edition_gateway_wakeup_online", Help: "1 while a network's local node is there.",
		}, []string{"netid"}),
	}
}

func (m *metrics) request(node string, status int) {
	m.requests.WithLabelValues(node, strconv.Itoa(status)).Inc()
}

func (m *metrics) sent(outcome string) { m.kicks.WithLabelValues(outcome).Inc() }

func (m *metrics) forward(netid, result string) { m.forwards.WithLabelValues(netid, result).Inc() }

func (m *metrics) online(netid string, up bool) {
	v := 0.0
	if up {
		v = 1
	}
	m.up.WithLabelValues(netid).Set(v)
}
