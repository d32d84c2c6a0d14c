package apns

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sideshow/apns2"

	"github.com/edition-push/edition"
)

// answer is what Apple says to a push.
type answer struct {
	status int
	reason string        // a word of Apple's table; empty: none
	after  time.Duration // when to ask again; 0: it does not say
}

// kinds says what a reason means where the status does not say enough. (Apple,
// "Handling notification responses from APNs".) Whatever a device can bring
// about by what it registers is never edition.ErrUnavailable.
var kinds = map[string]error{
	// The token will not work again with this topic and environment.
	apns2.ReasonBadDeviceToken:         edition.ErrGone,
	apns2.ReasonDeviceTokenNotForTopic: edition.ErrGone,
	apns2.ReasonMissingDeviceToken:     edition.ErrGone,
	apns2.ReasonUnregistered:           edition.ErrGone,
	apns2.ReasonExpiredToken:           edition.ErrGone,
	// The connection, or what all pushes have in common.
	apns2.ReasonIdleTimeout:                 edition.ErrUnavailable,
	apns2.ReasonTooManyProviderTokenUpdates: edition.ErrUnavailable,
}

// err is nil for a push that Apple has taken.
func (a answer) err() error {
	if a.status == http.StatusOK {
		return nil
	}
	text := fmt.Sprintf("answered %d", a.status)
	if a.reason != "" {
		text = fmt.Sprintf("%s, %q", text, a.reason)
	}
	kind := a.kind()
	if kind == nil {
		return errors.New(text)
	}
	err := fmt.Errorf("%w: %s", kind, text)
	if a.after > 0 && (errors.Is(kind, edition.ErrTooMany) || errors.Is(kind, edition.ErrUnavailable)) {
		return edition.RetryAfter(err, a.after)
	}
	return err
}

// kind is nil when only this target has failed, and may succeed later.
func (a answer) kind() error {
	if kind, ok := kinds[a.reason]; ok {
		return kind
	}
	switch {
	case a.status == http.StatusGone:
		return edition.ErrGone
	case a.status == http.StatusTooManyRequests:
		return edition.ErrTooMany
	case a.status == http.StatusForbidden, a.status >= 500:
		// 403 speaks of the key or the certificate: no push will do better.
		return edition.ErrUnavailable
	case a.status == http.StatusBadRequest && a.reason != "", a.status == http.StatusRequestEntityTooLarge:
		// The topic, or how the push is written: it would be so again.
		return edition.ErrForbidden
	}
	return nil
}
