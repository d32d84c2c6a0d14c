package wakeup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

const (
	maxBody  = 4 << 10
	bodyTime = 10 * time.Second
)

// request is one call of the API.
type request struct {
	*http.Request
	tracking string
	cert     string // the name in the caller's certificate, if it was told
	body     int    // bytes
}

var (
	validTracking = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	validCode     = regexp.MustCompile(`^[A-Za-z0-9]{8}$`)
)

// trackingID is what logs of all nodes call this request: what the caller
// says, or a new name.
func trackingID(r *http.Request) string {
	if id := r.Header.Get("X-Tracking-ID"); validTracking.MatchString(id) {
		return id
	}
	return rand.Text()
}

// form reads the parameters, of a GET from the query, else from the body, as
// the platform does whatever the content type. It is nil when there are none;
// the answer then says so.
func (q *request) form() (url.Values, answer) {
	text := q.URL.RawQuery
	if q.Method == http.MethodPost {
		body, err := io.ReadAll(http.MaxBytesReader(nil, q.Body, maxBody))
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, answer{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("More than %d bytes", maxBody)}
		}
		if err != nil {
			return nil, bad("the body ended early")
		}
		text, q.body = string(body), len(body)
	}
	form, err := url.ParseQuery(text)
	if err != nil || len(form) == 0 {
		return nil, bad("no parameters")
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, bad(fmt.Sprintf("%.20q is given twice", name))
		}
	}
	return form, answer{}
}

// size is about what the request took on the wire, in bytes.
func (q *request) size() int {
	n := len(q.Method) + len(q.RequestURI) + len(q.Proto) + len(q.Host) + q.body
	for name, values := range q.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// target is where a device listens.
type target struct {
	ip    netip.Addr
	port  uint16
	proto string // empty: not said
	// confirm is a code that the kick is to carry. The platform knows no such
	// thing: it is for this project's own nodes, and ignored by others.
	confirm string
}

func (t target) protocol() string {
	if t.proto == "" {
		return "udp"
	}
	return t.proto
}

func parseTarget(form url.Values) (t target, err error) {
	if t.ip, err = netip.ParseAddr(form.Get("ip")); err != nil || t.ip.Zone() != "" {
		return t, errors.New("ip is not an IP address")
	}
	t.ip = t.ip.Unmap()
	port, err := strconv.ParseUint(form.Get("port"), 10, 16)
	if err != nil || port == 0 {
		return t, errors.New("port is not a number from 1 to 65535")
	}
	t.port, t.proto = uint16(port), form.Get("proto")
	if t.proto != "" && t.proto != "udp" && t.proto != "tcp" {
		return t, errors.New("proto is neither udp nor tcp")
	}
	if t.confirm = form.Get("confirm"); t.confirm != "" && !validCode.MatchString(t.confirm) {
		return t, errors.New("confirm is not 8 letters and digits")
	}
	return t, nil
}

// answer is one answer of the API.
type answer struct {
	status int
	text   string
	kind   string        // content type; empty: plain text
	retry  time.Duration // 0: not said
}

// taken is the answer to a request that will be acted on.
var taken = answer{status: http.StatusOK, text: "Accepted"}

func bad(reason string) answer {
	return answer{status: http.StatusBadRequest, text: "Bad parameters: " + reason}
}

func unavailable(text string, retry time.Duration) answer {
	return answer{status: http.StatusServiceUnavailable, text: text, retry: max(retry, time.Second)}
}

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	if a.kind == "" {
		a.kind = "text/plain"
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.status != http.StatusMethodNotAllowed && r.Method != http.MethodOptions {
		h.Del("Allow")
	}
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retry.Seconds()))))
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.text) //nolint:errcheck // the peer may have gone
}
