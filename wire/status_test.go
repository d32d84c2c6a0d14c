package wire

import (
	"encoding/json"
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

// An error that goes over either transport comes back as the error it was.
func TestErrorsRoundTrip(t *testing.T) {
	for _, s := range statuses {
		if errors.Is(s.err, edition.ErrDisk) {
			continue // the peer gets ErrUnavailable, tested below
		}
		in := fmt.Errorf("while doing: %w", s.err)
		rec := httptest.NewRecorder()
		WriteProblem(rec, in)
		resp := rec.Result()
		if resp.StatusCode != s.status || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: %d, %s", s.err, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if err := ReadProblem(resp); !errors.Is(err, s.err) || err.Error() != in.Error() {
			t.Errorf("%v came back over HTTP as %v", in, err)
		}
		resp.Body.Close()

		b, err := json.Marshal(ErrorMessage(in, TypeRegister))
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := Decode(b, &m); err != nil || m.Of != TypeRegister {
			t.Fatalf("%s: %v", b, err)
		}
		if err := m.Err(); !errors.Is(err, s.err) || err.Error() != in.Error() {
			t.Errorf("%v came back over the WebSocket as %v", in, err)
		}
	}
}

func TestRetryAfterTravels(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{edition.ErrUnavailable, "5"},
		{edition.ErrTooMany, "5"},
		{edition.RetryAfter(edition.ErrTooMany, 1200*time.Millisecond), "2"},
		{fmt.Errorf("x: %w", edition.RetryAfter(edition.ErrUnavailable, 0)), "1"},
		{edition.RetryAfter(edition.ErrUnavailable, -time.Hour), "1"},
		{edition.ErrGone, ""},
	} {
		rec := httptest.NewRecorder()
		WriteProblem(rec, c.err)
		if got := rec.Header().Get("Retry-After"); got != c.want {
			t.Errorf("%v: Retry-After %q, want %q", c.err, got, c.want)
		}
		retry, ok := errors.AsType[*edition.RetryError](ReadProblem(rec.Result()))
		if ok != (c.want != "") || ok && fmt.Sprint(int(retry.After.Seconds())) != c.want {
			t.Errorf("%v: came back with %v", c.err, retry)
		}
	}
}

func TestDetailsThatStayHere(t *testing.T) {
	for _, err := range []error{
		errors.New("/data/edition.db: secret"),
		fmt.Errorf("/data/edition.db: secret: %w", edition.ErrDisk),
		edition.RetryAfter(fmt.Errorf("secret: %w: %w", edition.ErrUnavailable, edition.ErrDisk), time.Second),
	} {
		if p := ProblemOf(err); strings.Contains(p.Detail, "secret") {
			t.Errorf("%v shows %q", err, p.Detail)
		}
	}
	if p := ProblemOf(edition.ErrDisk); p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
		t.Errorf("ErrDisk is %d, retry after %d", p.Status, p.RetryAfter)
	}
}

// A peer that is not ours says something else: its status counts, its page
// does not get in.
func TestReadProblemOfAStranger(t *testing.T) {
	for _, c := range []struct {
		status            int
		contentType, body string
		want              error
	}{
		{407, "text/html", "<h1>log in</h1>", edition.ErrUnavailable},
		{302, "text/html", "", edition.ErrUnavailable},
		{500, "application/problem+json", `{"status":404,"title":"x"}`, edition.ErrUnavailable},
		{404, "text/plain", "not found", edition.ErrNotFound},
		{403, "application/problem+json", `not json`, edition.ErrForbidden},
		{502, "application/problem+json", `{"title":"` + strings.Repeat("x", 1<<20), edition.ErrUnavailable},
	} {
		err := ReadProblem(&http.Response{
			StatusCode: c.status, Header: http.Header{"Content-Type": {c.contentType}, "Retry-After": {"Fri, 31 Dec 1999 23:59:59 GMT"}},
			Body: io.NopCloser(strings.NewReader(c.body)),
		})
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), "<") || len(err.Error()) > 5000 {
			t.Errorf("%d: %v, want %v", c.status, err, c.want)
		}
	}
}

func TestUnauthorizedNamesItsScheme(t *testing.T) {
	rec := httptest.NewRecorder()
	WriteProblem(rec, edition.ErrUnauthorized)
	if rec.Header().Get("WWW-Authenticate") == "" {
		t.Error("a 401 has WWW-Authenticate (RFC 9110 §11.6.1)")
	}
}
