package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// answer is what Google says to a message.
type answer struct {
	status int
	code   string // an error code of FCM, else of all of Google's services; empty: neither
	ofFCM  bool   // it is one of FCM
	// field is the part of the request that Google complains of; empty: it
	// does not say.
	field string
	after time.Duration // when to ask again; 0: it does not say
}

// Error codes of FCM (Firebase, "ErrorCode") that are looked at.
const (
	codeUnregistered = "UNREGISTERED"
	codeMismatch     = "SENDER_ID_MISMATCH"
	codeInvalid      = "INVALID_ARGUMENT"
	codeThirdParty   = "THIRD_PARTY_AUTH_ERROR"
)

const (
	typeFCM    = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	fieldToken = "message.token"
	// quotaPause is how long Google wants one to wait at least who has sent
	// too much, when an answer does not say.
	quotaPause = time.Minute
)

var word = regexp.MustCompile(`^[A-Za-z_]{1,64}$`)

// isWord tells an error code from a text that may quote what was sent.
func isWord(s string) bool { return word.MatchString(s) }

// read takes from an answer what says what is wrong.
func read(a *outbound.Answer) answer {
	var said struct {
		Error struct {
			Status  string `json:"status"`
			Details []struct {
				Type       string `json:"@type"`
				ErrorCode  string `json:"errorCode"`
				Violations []struct {
					Field string `json:"field"`
				} `json:"fieldViolations"`
			} `json:"details"`
		} `json:"error"`
	}
	r := answer{status: a.Status, after: outbound.RetryAfter(a.Header)}
	if a.Status == http.StatusOK || json.Unmarshal(a.Body, &said) != nil {
		return r
	}
	if isWord(said.Error.Status) {
		r.code = said.Error.Status
	}
	for _, d := range said.Error.Details {
		if d.Type == typeFCM && isWord(d.ErrorCode) {
			r.code, r.ofFCM = d.ErrorCode, true
		}
		for _, v := range d.Violations {
			if r.field != fieldToken {
				r.field = v.Field
			}
		}
	}
	return r
}

// err is nil for a message that Google has taken.
func (a answer) err() error {
	if a.status == http.StatusOK {
		return nil
	}
	text := fmt.Sprintf("answered %d", a.status)
	if a.code != "" {
		text += ", " + a.code
	}
	kind := a.kind()
	if kind == nil {
		return errors.New(text)
	}
	err := fmt.Errorf("%w: %s", kind, text)
	switch {
	case errors.Is(kind, edition.ErrTooMany) && a.after == 0:
		return edition.RetryAfter(err, quotaPause)
	case a.after > 0 && (errors.Is(kind, edition.ErrTooMany) || errors.Is(kind, edition.ErrUnavailable)):
		return edition.RetryAfter(err, a.after)
	}
	return err
}

// kind is nil when only this target has failed, and may succeed later.
// Whatever a device can bring about by what it registers is never
// edition.ErrUnavailable.
func (a answer) kind() error {
	switch {
	case a.code == codeUnregistered, a.code == codeMismatch:
		return edition.ErrGone
	case a.code == codeThirdParty:
		// The project lacks what Apple's or a browser's push service wants:
		// that fails for tokens of this kind alone.
		return edition.ErrForbidden
	case a.code == codeInvalid && a.field == fieldToken, a.code == codeInvalid && a.ofFCM && a.field == "":
		// All else is the same in every message, so it is the token.
		return edition.ErrGone
	case a.status == http.StatusTooManyRequests:
		return edition.ErrTooMany
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, a.status >= 500:
		return edition.ErrUnavailable
	case a.status == http.StatusBadRequest:
		return edition.ErrForbidden
	}
	return nil
}
