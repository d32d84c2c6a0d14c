package publish

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/edition-push/edition"
)

var (
	errNoPath = fmt.Errorf("%w: there is nothing at this path", edition.ErrNotFound)
	errGone   = fmt.Errorf("%w: the app is unregistered, or its registration has expired", edition.ErrGone)
	errBusy   = edition.RetryAfter(fmt.Errorf("%w: too many requests are waiting", edition.ErrUnavailable), time.Second)
	errDrain  = edition.RetryAfter(fmt.Errorf("%w: the server is shutting down", edition.ErrUnavailable), 5*time.Second)
	// The outcome is open: the version may be kept all the same.
	errUnknown = edition.RetryAfter(fmt.Errorf("%w: not known to be kept, send it again", edition.ErrUnavailable), time.Second)
)

func methodError(method string) error { return fmt.Errorf("%w: %.20q", edition.ErrMethod, method) }

// door says by which way a request came in.
type door uint8

const (
	doorPut door = iota
	doorPost
	doorGet
	doorMessage
	doorReceipt
	doorBatch
	doorOther
	doors
)

func (d door) String() string {
	return [...]string{"put", "post", "get", "message", "receipt", "batch", "other"}[d]
}

// reason says how a request, or a line of a batch, was answered. It feeds both
// the log and the metric.
type reason uint8

const (
	reasonStored reason = iota
	reasonSuperseded
	reasonDelivered
	reasonDropped
	reasonWithdrawn
	reasonPending
	reasonShown
	reasonMalformed
	reasonUnauthorized
	reasonForbidden
	reasonNotFound
	reasonMethod
	reasonGone
	reasonTooLarge
	reasonMediaType
	reasonTooMany
	reasonUnavailable
	reasonDisk
	reasonUnknown
	reasonLeft
	reasonInternal
	reasons
)

func (r reason) String() string {
	return [...]string{
		"stored", "superseded", "delivered", "dropped", "withdrawn", "pending", "shown", "malformed", "unauthorized",
		"forbidden", "not_found", "method", "gone", "too_large", "media_type", "too_many", "unavailable", "disk", "unknown", "client_left", "internal",
	}[r]
}

var reasonErrors = []struct {
	err    error
	reason reason
}{
	{errUnknown, reasonUnknown},
	{errLeft, reasonLeft},
	{edition.ErrMalformed, reasonMalformed},
	{edition.ErrUnauthorized, reasonUnauthorized},
	{edition.ErrForbidden, reasonForbidden},
	{edition.ErrNotFound, reasonNotFound},
	{edition.ErrMethod, reasonMethod},
	{edition.ErrGone, reasonGone},
	{edition.ErrTooLarge, reasonTooLarge},
	{edition.ErrMediaType, reasonMediaType},
	{edition.ErrTooMany, reasonTooMany},
	{edition.ErrUnavailable, reasonUnavailable},
	{edition.ErrDisk, reasonDisk},
}

func reasonOf(err error) reason {
	for _, e := range reasonErrors {
		if errors.Is(err, e.err) {
			return e.reason
		}
	}
	return reasonInternal
}

// reasonOfResult is for results that are not errors.
func reasonOfResult(r edition.Result) reason {
	switch {
	case r.Outcome == edition.OutcomeDelivered:
		return reasonDelivered
	case r.Superseded:
		return reasonSuperseded
	}
	return reasonStored
}

type metrics struct {
	answers [doors][reasons]prometheus.Counter // resolved once: the hot path looks nothing up
	seconds prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, waiting, held *atomic.Int64) *metrics {
	f := promauto.With(reg)
	answers := f.NewCounterVec(prometheus.CounterOpts{
		Name: "edition_publish_answers_total",
		Help: "Answers to app servers, one for each request and each line of a batch.",
	}, []string{"door", "reason"})
	m := &metrics{seconds: f.NewHistogram(prometheus.HistogramOpts{
		Name:    "edition_publish_receipt_seconds",
		Help:    "Time from delivering a PUT, a POST, or a chunk of a batch, until it was durable or delivered.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
	})}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "edition_publish_waiting", Help: "PUTs, POSTs, and chunks of batches, that wait for their receipts.",
	}, func() float64 { return float64(waiting.Load()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "edition_publish_receipts_waiting", Help: "Requests that wait for the receipt of a message.",
	}, func() float64 { return float64(held.Load()) })
	for d := range doors {
		for r := range reasons {
			m.answers[d][r] = answers.WithLabelValues(d.String(), r.String())
		}
	}
	return m
}
