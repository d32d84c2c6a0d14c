package wire

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edition-push/edition"
)

// statuses is the one table of errors and HTTP statuses, read in both
// directions, so that a relay's client gets back the error its upstream meant.
// The first match wins.
var statuses = []struct {
	err    error
	status int
}{
	{edition.ErrMalformed, http.StatusBadRequest},
	{edition.ErrUnauthorized, http.StatusUnauthorized},
	{edition.ErrForbidden, http.StatusForbidden},
	{edition.ErrNotFound, http.StatusNotFound},
	{edition.ErrMethod, http.StatusMethodNotAllowed},
	{edition.ErrConflict, http.StatusConflict},
	{edition.ErrGone, http.StatusGone},
	{edition.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{edition.ErrMediaType, http.StatusUnsupportedMediaType},
	{edition.ErrTooMany, http.StatusTooManyRequests},
	{edition.ErrUnavailable, http.StatusServiceUnavailable},
	{edition.ErrDisk, http.StatusServiceUnavailable},
}

// defaultRetry is what 429 and 503 say when the error does not.
const defaultRetry = 5 * time.Second

// Status returns the HTTP status of an error, 500 for one that the table does
// not know.
func Status(err error) int {
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// Problem is a problem document (RFC 9457) and, by its fields, an error
// message on the WebSocket.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	// RetryAfter in seconds; a header over HTTP, a field on the WebSocket.
	RetryAfter int `json:"-"`
}

// ProblemOf describes an error to a peer. The detail of an error that is not
// in the table stays here, and so does that of ErrDisk, which names files.
func ProblemOf(err error) Problem {
	status := Status(err)
	p := Problem{Type: "about:blank", Title: http.StatusText(status), Status: status}
	switch status {
	case http.StatusInternalServerError:
		return p
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		after := defaultRetry
		if r, ok := errors.AsType[*edition.RetryError](err); ok {
			after = r.After
		}
		p.RetryAfter = max(1, int(math.Ceil(after.Seconds())))
	}
	p.Detail = err.Error()
	if errors.Is(err, edition.ErrDisk) {
		p.Detail = "not known to be kept, send it again"
	}
	return p
}

// Err turns a peer's problem back into the error it meant.
func (p Problem) Err() error {
	kind := edition.ErrUnavailable
	for _, s := range statuses {
		if s.status == p.Status {
			kind = s.err
			break
		}
	}
	err := error(&remoteError{kind: kind, problem: p})
	if p.RetryAfter > 0 {
		err = edition.RetryAfter(err, time.Duration(p.RetryAfter)*time.Second)
	}
	return err
}

// remoteError is what a peer said, as one of our own error values.
type remoteError struct {
	kind    error
	problem Problem
}

func (e *remoteError) Error() string {
	if e.problem.Detail != "" {
		return strings.TrimPrefix(e.problem.Detail, "malformed: ")
	}
	return strconv.Itoa(e.problem.Status) + " " + e.problem.Title
}

func (e *remoteError) Unwrap() error { return e.kind }

// WriteProblem answers a request with an error. A Cache-Control or
// WWW-Authenticate that was set before stands.
func WriteProblem(w http.ResponseWriter, err error) {
	p := ProblemOf(err)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if h["Cache-Control"] == nil {
		h.Set("Cache-Control", "no-store")
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Status == http.StatusUnauthorized && h["Www-Authenticate"] == nil {
		h.Set("WWW-Authenticate", `Edition realm="edition"`)
	}
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck // the peer may have gone
}

// ReadProblem reads the error of a response that is not a success. It reads at
// most 4 KiB of the body and does not close it. A peer that does not speak
// problem documents (a proxy, a login page) is ErrUnavailable with its status.
func ReadProblem(resp *http.Response) error {
	p := Problem{Title: http.StatusText(resp.StatusCode)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 4<<10)).Decode(&p) //nolint:errcheck // the status says enough
	}
	p.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 && s < 86400 {
		p.RetryAfter = s
	}
	return p.Err()
}

// ErrorMessage is a problem as a WebSocket message about a message of type of.
func ErrorMessage(err error, of string) Message {
	p := ProblemOf(err)
	return Message{Type: TypeError, Status: p.Status, Title: p.Title, Detail: p.Detail, Of: of, RetryAfter: p.RetryAfter}
}

// Err is the error that an error message, or an answer with a failure status, means.
func (m *Message) Err() error {
	return Problem{Title: m.Title, Status: m.Status, Detail: m.Detail, RetryAfter: m.RetryAfter}.Err()
}
