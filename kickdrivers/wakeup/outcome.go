package wakeup

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// What the platform says when the fault is not the target's.
const (
	textBadCertificate = "Client certificate not accepted" // with 400
	textNoSuchPath     = "Not found"                       // with 404
)

// outcome says by an error what an answer means.
func outcome(a *outbound.Answer, n *network) error {
	text := strings.TrimSpace(string(a.Body))
	var kind error
	switch s := a.Status; {
	case s >= 200 && s < 300:
		return nil
	case s == http.StatusBadRequest && text != textBadCertificate, s == http.StatusNotFound && text != textNoSuchPath:
		kind = edition.ErrForbidden
	case s == http.StatusTooManyRequests:
		kind = edition.ErrTooMany
	case s == http.StatusServiceUnavailable && n.namedIn(text):
		// One network's trouble is not the platform's.
		if outbound.RetryAfter(a.Header) > 0 && !strings.Contains(strings.ToLower(text), "offline") {
			kind = edition.ErrTooMany
		}
	case s >= 500, s < 400, s == http.StatusBadRequest, s == http.StatusNotFound, s == http.StatusUnauthorized,
		s == http.StatusForbidden, s == http.StatusMethodNotAllowed:
		kind = edition.ErrUnavailable
	}
	err := fmt.Errorf("the platform answered %d: %.100q", a.Status, text)
	if kind == nil {
		return err
	}
	err = fmt.Errorf("%w: %w", kind, err)
	if after := outbound.RetryAfter(a.Header); after > 0 && !errors.Is(kind, edition.ErrForbidden) {
		return edition.RetryAfter(err, after)
	}
	return err
}

// namedIn reports whether a text speaks of the network: by its netid, or by
// the one that the platform makes of its codes.
func (n *network) namedIn(text string) bool {
	return slices.ContainsFunc(strings.Fields(text), func(word string) bool {
		word = strings.Trim(word, `"'.,;:()`)
		return word == n.name() || n.codes != "" && (word == n.codes || strings.HasPrefix(word, n.codes+"."))
	})
}
