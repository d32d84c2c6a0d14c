package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/wire"
)

// validID is the name of a kick at a gateway.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

const (
	firstPause = 20 * time.Millisecond // before the outcome is asked for
	maxPause   = time.Second           // between two questions; doubles up to this
)

// await asks for the outcomes of the kicks that have an id, until all are
// known or the time is over. A kick without an outcome by then was taken, and
// that is all that is known: it is on its way.
func (d *Driver) await(ctx context.Context, ids []string, errs []error) {
	var open []int
	for i, id := range ids {
		if id != "" {
			open = append(open, i)
		}
	}
	limited, cancel := context.WithTimeout(ctx, d.c.Wait)
	defer cancel()
	for pause := firstPause; len(open) > 0 && sleep(limited, pause); pause = min(2*pause, maxPause) {
		known := make([]bool, len(open))
		d.slots.Each(limited, len(open), func(n int) {
			known[n], errs[open[n]] = d.ask(limited, ids[open[n]])
		})
		var still []int
		for n, i := range open {
			if !known[n] {
				still = append(still, i)
			}
		}
		open = still
	}
	if ctx.Err() != nil {
		for _, i := range open {
			errs[i] = context.Cause(ctx)
		}
	}
}

// ask asks for one outcome. A gateway that does not answer, or does not know
// the kick any more, is asked again as long as there is time.
func (d *Driver) ask(ctx context.Context, id string) (known bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.c.endpoint(wire.PathKicks)+"/"+id, nil)
	if err != nil {
		return true, err
	}
	a, err := d.do(req)
	if err != nil || a.Status != http.StatusOK {
		return false, nil
	}
	var s wire.WakeState
	if err := json.Unmarshal(a.Body, &s); err != nil || s.Outcome == "" {
		return false, nil
	}
	return true, errorOf(s.WakeResult)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// errorOf turns an outcome of the other node into the error value that means
// the same here. That a driver there is down is no fault of the gateway: other
// drivers there may work, so it must not stop all kicks.
func errorOf(r wire.WakeResult) error {
	detail := "at the other node"
	if text := clean(r.Detail); text != "" {
		detail += ": " + text
	}
	after := time.Duration(r.RetryAfter) * time.Second
	switch r.Outcome {
	case "sent", "answered", "unanswered":
		return nil
	case "gone":
		return fmt.Errorf("%w %s", edition.ErrGone, detail)
	case "refused":
		return fmt.Errorf("%w %s", edition.ErrForbidden, detail)
	case "rate_limited", "breaker_open":
		err := fmt.Errorf("%w: %s %s", edition.ErrTooMany, r.Outcome, detail)
		if after > 0 {
			return edition.RetryAfter(err, after)
		}
		return err
	}
	return errors.New("failed " + detail)
}

// refusal is the error for a gateway's answer that is not 202. What it says
// about this node, or what shows that it is no gateway, is ErrUnavailable; what
// it says about the route is not.
func refusal(a *outbound.Answer) error {
	detail := http.StatusText(a.Status)
	var p wire.Problem
	if strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(a.Body, &p) == nil && p.Detail != "" {
		detail = clean(p.Detail)
	}
	kind := edition.ErrUnavailable
	switch a.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge:
		kind = edition.ErrForbidden
	case http.StatusTooManyRequests:
		kind = edition.ErrTooMany
	case http.StatusInternalServerError:
		return fmt.Errorf("the gateway answers 500: %s", detail)
	}
	err := fmt.Errorf("%w: the gateway answers %d: %s", kind, a.Status, detail)
	if after := outbound.RetryAfter(a.Header); after > 0 && kind != edition.ErrForbidden { //nolint:errorlint // chosen above
		return edition.RetryAfter(err, after)
	}
	return err
}

// maxDetail bounds what is repeated of another node's words, in bytes.
const maxDetail = 200

func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}
