package publish

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

func TestGetShowsTheState(t *testing.T) {
	since := time.Date(2026, 7, 1, 12, 30, 5, 123_456_789, time.FixedZone("", 7200))
	for _, c := range []struct {
		state edition.EndpointState
		want  string
	}{
		{edition.EndpointState{Version: 5, State: edition.StatePending, Since: since}, `{"version":5,"state":"pending","since":"2026-07-01T10:30:05.123Z"}`},
		{edition.EndpointState{Version: 1<<63 - 1, State: edition.StateDelivered, Since: since}, `{"version":9223372036854775807,"state":"delivered","since":"2026-07-01T10:30:05.123Z"}`},
		{edition.EndpointState{Version: 5, State: edition.StateExpired, Since: since}, `{"version":5,"state":"expired","since":"2026-07-01T10:30:05.123Z"}`},
		{edition.EndpointState{State: edition.StateNone, Since: since}, `{"version":0,"state":"none","since":"2026-07-01T10:30:05.123Z"}`},
		{edition.EndpointState{State: edition.StateNone}, `{"version":0,"state":"none"}`},
		{edition.EndpointState{Version: 5, State: edition.StateNone, Since: since, Relayed: true}, `{"version":5,"state":"none","since":"2026-07-01T10:30:05.123Z","custody":"relay"}`},
	} {
		f := newFixture(t, Limits{})
		f.state = func(k edition.Key) (edition.EndpointState, error) {
			if k != f.key {
				return edition.EndpointState{}, fmt.Errorf("asked for %v", k)
			}
			return c.state, nil
		}
		resp := f.request(http.MethodGet, "/v1/e/"+f.token, "", "")
		status, body := statusAndBody(resp)
		if status != 200 || body != strings.TrimSuffix(c.want, "}")+`,"unifiedpush":{"version":1}}`+"\n" {
			t.Errorf("%d %s, want %s", status, body, c.want)
		}
		h := resp.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != typeObj || h.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("header %v", h)
		}
	}
}

func TestGetOfWhatIsGone(t *testing.T) {
	f := newFixture(t, Limits{})
	for err, want := range map[error]int{
		fmt.Errorf("x: %w", edition.ErrGone): 410, edition.ErrUnavailable: 503, errors.New("inner"): 500,
	} {
		f.state = func(edition.Key) (edition.EndpointState, error) { return edition.EndpointState{}, err }
		if status, body := statusAndBody(f.request(http.MethodGet, "/v1/e/"+f.token, "", "")); status != want || strings.Contains(body, "inner") {
			t.Errorf("%v: %d %s", err, status, body)
		}
	}
}

func TestOtherMethods(t *testing.T) {
	f := newFixture(t, Limits{})
	for _, method := range []string{http.MethodDelete, http.MethodPatch, http.MethodTrace, "FOO"} {
		resp := f.request(method, "/v1/e/"+f.token, "", "version=5")
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD, PUT, POST, OPTIONS" {
			t.Errorf("%s: %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
		resp.Body.Close()
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodOptions} {
		resp := f.request(method, "/v1/events", "", "")
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s of batches: %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
		resp.Body.Close()
	}
	if len(f.updates) > 0 {
		t.Error("had an effect")
	}
}

func TestPreflightSaysTheSameForEveryToken(t *testing.T) {
	f := newFixture(t, Limits{})
	for _, token := range []string{f.token, "forged"} {
		resp := f.request(http.MethodOptions, "/v1/e/"+token, "", "")
		status, body := statusAndBody(resp)
		h := resp.Header
		if status != 204 || body != "" || h.Get("Access-Control-Allow-Methods") != "GET, HEAD, PUT, POST, OPTIONS" ||
			h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Encoding, TTL, Urgency, Topic") {
			t.Errorf("%d %v", status, h)
		}
	}
}

// What net/http has its part in: lengths, HEAD, bodies that are cut off.
func TestOverHTTP(t *testing.T) {
	f := newFixture(t, Limits{})
	f.state = func(edition.Key) (edition.EndpointState, error) {
		return edition.EndpointState{Version: 5, State: edition.StatePending, Since: time.Now()}, nil
	}
	s := httptest.NewServer(f.Publisher)
	defer s.Close()
	do := func(method string, body io.Reader) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/v1/e/"+f.token, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}

	get, head := do(http.MethodGet, nil), do(http.MethodHead, nil)
	_, body := statusAndBody(get)
	get.Body.Close()
	if n, none := statusAndBody(head); n != 200 || none != "" || head.ContentLength != int64(len(body)) || head.Header.Get("Content-Type") != typeObj {
		t.Errorf("HEAD: %d %q, %d bytes, GET has %d", n, none, head.ContentLength, len(body))
	}
	head.Body.Close()

	put := do(http.MethodPut, strings.NewReader("version=7"))
	if status, body := statusAndBody(put); status != 202 || put.ContentLength != int64(len(body)) {
		t.Errorf("PUT: %d %s, %d bytes", status, body, put.ContentLength)
	}
	put.Body.Close()

	chunked := do(http.MethodPut, io.MultiReader(strings.NewReader("ver"), strings.NewReader("sion=8")))
	if status, body := statusAndBody(chunked); status != 202 || !strings.Contains(body, ":8}") {
		t.Errorf("chunked: %d %s", status, body)
	}
	chunked.Body.Close()

	// Chunked: its length is not told. The rest is held back until the answer
	// is there: else the end of the connection, with something unread, could
	// overtake it.
	rest, answered := io.Pipe()
	huge := do(http.MethodPut, io.MultiReader(io.LimitReader(endless{}, 300<<10), rest))
	answered.Close()
	if status, body := statusAndBody(huge); status != 413 {
		t.Errorf("300 kB: %d %s", status, body)
	}
	huge.Body.Close()
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '1'
	}
	return len(b), nil
}
