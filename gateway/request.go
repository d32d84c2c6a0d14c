package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// readRequest reads the body of POST /v1/kicks, and says how large it is.
func readRequest(w http.ResponseWriter, r *http.Request) (req wire.WakeRequest, size int, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return req, 0, fmt.Errorf("%w: a kick is asked for as application/json", edition.ErrMediaType)
	}
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTime)) //nolint:errcheck // not every server can
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return req, 0, fmt.Errorf("%w: a request has at most %d bytes", edition.ErrTooLarge, maxBody)
	}
	if err != nil {
		return req, 0, fmt.Errorf("%w: the body ended early", edition.ErrMalformed)
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, 0, fmt.Errorf(`%w: the body is not an object such as {"uaid":"…"} or {"kick":{"driver":"…",…}}`, edition.ErrMalformed)
	}
	return req, len(body), nil
}

// validCode is a code as the dispatcher of another node makes it.
var validCode = regexp.MustCompile(`^[A-Za-z0-9]{8}$`)

// checkRequest finds what the types of the fields let pass.
func checkRequest(req *wire.WakeRequest) error {
	if k := bytes.TrimSpace(req.Kick); string(k) == "null" {
		req.Kick = nil
	}
	switch {
	case req.UAID == nil && len(req.Kick) == 0:
		return fmt.Errorf("%w: neither uaid nor kick says who is to be woken", edition.ErrMalformed)
	case req.UAID != nil && len(req.Kick) > 0:
		return fmt.Errorf("%w: uaid and kick are both given; one is enough", edition.ErrMalformed)
	case req.UAID != nil && *req.UAID == edition.UAID{}:
		return fmt.Errorf("%w: uaid is empty", edition.ErrMalformed)
	case req.Confirm != "" && (req.UAID != nil || !validCode.MatchString(req.Confirm)):
		return fmt.Errorf("%w: confirm is 8 letters and digits, beside kick", edition.ErrMalformed)
	}
	req.From = req.From.Unmap().WithZone("")
	return nil
}

// driversOf returns the names in a kick, an object or a list of objects. Each
// has to name one: what a caller may use is a list of names.
func driversOf(kick json.RawMessage) ([]string, error) {
	type head struct {
		Driver string `json:"driver"`
	}
	var heads []head
	if k := bytes.TrimSpace(kick); len(k) > 0 && k[0] == '{' {
		heads = make([]head, 1)
		if err := json.Unmarshal(k, &heads[0]); err != nil {
			return nil, errKick
		}
	} else if err := json.Unmarshal(k, &heads); err != nil || len(heads) == 0 || len(heads) > edition.MaxRoutes {
		return nil, errKick
	}
	names := make([]string, len(heads))
	for i, h := range heads {
		if names[i] = h.Driver; h.Driver == "" {
			return nil, errKick
		}
	}
	return names, nil
}

var errKick = fmt.Errorf(`%w: kick is not an object such as {"driver":"udp",…}, or a list of at most %d of them`,
	edition.ErrMalformed, edition.MaxRoutes)
