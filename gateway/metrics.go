package gateway

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/edition-push/edition"
)

// accepted is the result of a request that was not refused; see reasonOf.
const accepted = "accepted"

type metrics struct {
	requests *prometheus.CounterVec
	outcomes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, kept func() float64) *metrics {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "edition_gateway_kept", Help: "Kicks whose outcome can be asked for.",
	}, kept)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_gateway_requests_total", Help: "Requests for a kick, by caller and result.",
		}, []string{"caller", "result"}),
		outcomes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "edition_gateway_outcomes_total", Help: "What became of the kicks that were asked for.",
		}, []string{"caller", "outcome"}),
	}
}

// reasonOf is the word for why a request was refused.
func reasonOf(err error) string {
	for _, r := range []struct {
		kind error
		word string
	}{
		{edition.ErrUnauthorized, "unauthorized"},
		{edition.ErrForbidden, "forbidden"},
		{edition.ErrNotFound, "no_route"},
		{edition.ErrTooMany, "rate_limited"},
		{edition.ErrUnavailable, "unavailable"},
		{edition.ErrMalformed, "malformed"},
		{edition.ErrMediaType, "malformed"},
		{edition.ErrTooLarge, "too_large"},
	} {
		if errors.Is(err, r.kind) {
			return r.word
		}
	}
	return "failed"
}
