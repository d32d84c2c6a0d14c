package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// maxAnswer is how much of an answer's body is read, in bytes: 256 results.
const maxAnswer = 64 << 10

// results is the answer to a batch: one for each kick, in their order.
type results struct {
	Results []result `json:"results"`
}

// result is what became of one kick of a batch.
type result struct {
	Status     int `json:"status"`                // as of an answer to that kick alone
	RetryAfter int `json:"retry_after,omitempty"` // seconds
}

// maxRetryAfter bounds what a result may ask for, in seconds: a day.
const maxRetryAfter = 86400

func (r result) outcome() error {
	return outcome(r.Status, time.Duration(min(max(r.RetryAfter, 0), maxRetryAfter))*time.Second)
}

// outcome is what a status means for the one kick that it is about.
func outcome(status int, wait time.Duration) error {
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusGone:
		return fmt.Errorf("%w: the receiver answered %d", edition.ErrGone, status)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable && wait > 0:
		return edition.RetryAfter(fmt.Errorf("%w: the receiver answered %d", edition.ErrTooMany, status), wait)
	case status/100 == 4 && status != http.StatusRequestTimeout:
		return fmt.Errorf("%w: the receiver answered %d", edition.ErrForbidden, status)
	}
	return fmt.Errorf("the receiver answered %d", status)
}

// down returns an error when an answer says that the receiver as a whole does
// not work: 502 from what stands before it, 503 from itself.
func down(a *outbound.Answer) error {
	if a.Status != http.StatusBadGateway && a.Status != http.StatusServiceUnavailable {
		return nil
	}
	err := fmt.Errorf("%w: the receiver answered %d", edition.ErrUnavailable, a.Status)
	if wait := outbound.RetryAfter(a.Header); wait > 0 {
		err = edition.RetryAfter(err, wait)
	}
	return err
}

// single is what the answer to one kick means.
func single(a *outbound.Answer) error {
	if err := down(a); err != nil {
		return err
	}
	return outcome(a.Status, outbound.RetryAfter(a.Header))
}

// batch sets what the answer to several kicks means for each. What is said of
// all of them is held against none: it may be about one.
func batch(a *outbound.Answer, set func(i int, err error), n int) {
	all := func(err error) {
		for i := range n {
			set(i, err)
		}
	}
	if err := down(a); err != nil {
		all(err)
		return
	}
	if a.Status == http.StatusTooManyRequests {
		all(outcome(a.Status, outbound.RetryAfter(a.Header)))
		return
	}
	if a.Status/100 != 2 {
		all(fmt.Errorf("the receiver answered %d to %d kicks", a.Status, n))
		return
	}
	if !a.Cut && !bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("{")) {
		return // nothing is said of single kicks: all are sent
	}
	var r results
	err := json.Unmarshal(a.Body, &r)
	switch {
	case err != nil || r.Results != nil && len(r.Results) != n:
		all(fmt.Errorf("the receiver answered %d results that can be read to %d kicks", len(r.Results), n))
	case r.Results != nil:
		for i, one := range r.Results {
			set(i, one.outcome())
		}
	}
}
