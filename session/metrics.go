package session

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/edition-push/edition/wire"
)

// reason says why a connection was closed or a claim refused. It feeds the log
// and the metric label alike.
type reason string

const (
	reasonPeer      reason = "peer"      // the peer closed
	reasonRead      reason = "read"      // the network failed while reading
	reasonWrite     reason = "write"     // the network failed, or the peer did not read
	reasonHello     reason = "no_hello"  // no hello in time
	reasonSilent    reason = "silent"    // pinged in vain
	reasonIdle      reason = "idle"      // the device can be woken
	reasonTalk      reason = "protocol"  // as the device's protocol has it
	reasonReplaced  reason = "replaced"  // a newer connection took the last UAID
	reasonRevoked   reason = "revoked"   // what the relay has shown counts no more
	reasonDrain     reason = "drain"     // the server shuts down
	reasonBinary    reason = "binary"    // a binary frame
	reasonUTF8      reason = "utf8"      // text that is not UTF-8
	reasonTooLarge  reason = "too_large" // a message over the limit
	reasonMalformed reason = "malformed" // too many malformed messages
	reasonRate      reason = "rate"      // too many messages
	reasonPanic     reason = "panic"     // a fault of ours
	reasonToken     reason = "token"     // a wrong bearer token
	reasonSecret    reason = "secret"    // a missing or wrong secret
	reasonUnknown   reason = "unknown"   // a UAID nobody knows
	reasonAgents    reason = "agents"    // too many UAIDs
	reasonKick      reason = "kick"      // a kick that the operator does not allow
	reasonCode      reason = "code"      // a code that no route waits for
	reasonForeign   reason = "foreign"   // an ack for a UAID that is not held here
	reasonStale     reason = "stale"     // a report about a store that the relay has lost
	reasonNoFlight  reason = "no_update" // an ack for an UPDATE that is not in flight
	reasonStopping  reason = "stopping"  // came while draining
	reasonType      reason = "type"      // a message type nobody knows
)

type metrics struct {
	devices, relays, polls   prometheus.Gauge
	streams                  prometheus.Gauge
	messages                 *prometheus.CounterVec
	types                    map[string]prometheus.Counter // of messages, resolved
	updates, events, resends prometheus.Counter
	closes, refused          *prometheus.CounterVec
	registrations, wakes     *prometheus.CounterVec
	panics                   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	conns := f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "edition_session_connections", Help: "WebSocket connections open, by kind of peer.",
	}, []string{"kind"})
	m := &metrics{
		devices: conns.WithLabelValues("device"),
		relays:  conns.WithLabelValues("relay"),
		polls: f.NewGauge(prometheus.GaugeOpts{
			Name: "edition_session_polls", Help: "Long polls waiting.",
		}),
		streams: f.NewGauge(prometheus.GaugeOpts{
			Name: "edition_session_streams", Help: "Event streams open.",
		}),
		messages: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_session_messages_total", Help: "Messages and REST requests taken, by type.",
		}, []string{"type"}),
		updates: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_session_updates_total", Help: "UPDATEs sent.",
		}),
		events: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_session_events_total", Help: "Events sent in UPDATEs.",
		}),
		resends: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_session_resends_total", Help: "UPDATEs that were not acknowledged in time.",
		}),
		closes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_session_closes_total", Help: "WebSocket connections ended, by reason.",
		}, []string{"reason"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_session_refused_total", Help: "Claims, messages and acks refused, by reason.",
		}, []string{"reason"}),
		registrations: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_session_registrations_total", Help: "Registrations asked for, by the status they were answered with.",
		}, []string{"status"}),
		wakes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_session_wakes_total", Help: "Requests to relays to wake a device, by result.",
		}, []string{"result"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "edition_session_panics_total", Help: "Connections and requests ended by a fault of the server.",
		}),
		types: make(map[string]prometheus.Counter),
	}
	for _, t := range []string{
		wire.TypeHello, wire.TypeRegister, wire.TypeUnregister, wire.TypeKick,
		wire.TypeUpdate, wire.TypeAck, wire.TypeRefuse, wire.TypeWoken, wire.TypePing, typeStream,
		"purge", "nack", "broadcast_subscribe", // of other protocols
	} {
		m.types[t] = m.messages.WithLabelValues(t)
	}
	return m
}

// message counts one by type; a type that nobody knows is "other".
func (m *metrics) message(t string) {
	if c := m.types[t]; c != nil {
		c.Inc()
		return
	}
	m.messages.WithLabelValues("other").Inc()
}

// registered counts what came of a registration.
func (m *metrics) registered(err error) {
	status := http.StatusCreated
	if err != nil {
		status = wire.Status(err)
	}
	m.registrations.WithLabelValues(strconv.Itoa(status)).Inc()
}

func (m *metrics) close(r reason) { m.closes.WithLabelValues(string(r)).Inc() }

func (m *metrics) refuse(r reason) { m.refused.WithLabelValues(string(r)).Inc() }

func (m *metrics) refuseN(r reason, n int) { m.refused.WithLabelValues(string(r)).Add(float64(n)) }
