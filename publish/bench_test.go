package publish

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

// sink is a ResponseWriter that costs nothing by itself.
type sink struct {
	h      http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { s.n += len(b); return len(b), nil }

// BenchmarkPut is the handler alone: no connection, a receipt that is done.
func BenchmarkPut(b *testing.B) {
	for name, c := range map[string]struct{ contentType, body string }{
		"form": {typeForm, "version=1700000000000"}, "json": {typeObj, `{"version":1700000000000}`}, "empty": {typeForm, ""},
	} {
		b.Run(name, func(b *testing.B) {
			done := edition.NewReceipt(1)
			done.Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: 1})
			keys := ring(b, 1)
			p := New(Options{
				Keys: keys, PublicURL: publicURL,
				Deliver: func(edition.Update, edition.Delivery) *edition.Receipt { return done },
			})
			body := strings.NewReader(c.body)
			r := httptest.NewRequest(http.MethodPut, "/v1/e/"+keys.Seal(newKey()), body)
			r.Header.Set("Content-Type", c.contentType)
			r.Body = io.NopCloser(body)
			w := &sink{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(c.body)
				clear(w.h)
				p.ServeHTTP(w, r)
			}
			if w.status != http.StatusAccepted {
				b.Fatal(w.status)
			}
		})
	}
}

// BenchmarkLine is one line of a batch from its text to its answer.
func BenchmarkLine(b *testing.B) {
	f := newFixture(b, Limits{})
	line := []byte(f.line(1_700_000_000_000))
	c := newChunk(f.Publisher, KeyHash{})
	b.ReportAllocs()
	for b.Loop() {
		c.lines = c.lines[:0]
		c.addText(line)
		if c.lines[0].err != nil {
			b.Fatal(c.lines[0].err)
		}
	}
}

// A PUT allocates the update, which the store may keep, and little else.
func TestPutAllocatesLittle(t *testing.T) {
	if raced {
		t.Skip("a pool is none under the race detector")
	}
	done := edition.NewReceipt(1)
	done.Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: 1})
	keys := ring(t, 1)
	p := New(Options{
		Keys: keys, PublicURL: publicURL,
		Deliver: func(edition.Update, edition.Delivery) *edition.Receipt { return done },
	})
	body := strings.NewReader("")
	r := httptest.NewRequest(http.MethodPut, "/v1/e/"+keys.Seal(newKey()), nil)
	r.Header.Set("Content-Type", typeForm)
	r.Body, r.ContentLength = io.NopCloser(body), 9
	w := &sink{h: http.Header{}}
	if n := testing.AllocsPerRun(200, func() {
		body.Reset("version=5")
		clear(w.h)
		p.ServeHTTP(w, r)
	}); n > 3 {
		t.Errorf("%v allocations", n)
	}
	if w.status != http.StatusAccepted {
		t.Error(w.status)
	}
}
