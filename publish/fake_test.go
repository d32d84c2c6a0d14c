package publish

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
)

// fake stands for hub and store: it takes what is delivered and answers as the
// test says.
type fake struct {
	edition.Store // nil: what a test does not expect to be called

	mu      sync.Mutex
	updates []edition.Update
	hows    []edition.Delivery
	state   func(edition.Key) (edition.EndpointState, error)
	answer  func(u edition.Update, r *edition.Receipt) // nil: all stored
}

func (f *fake) Deliver(u edition.Update, how edition.Delivery) *edition.Receipt {
	f.mu.Lock()
	f.updates, f.hows = append(f.updates, u), append(f.hows, how)
	answer := f.answer
	f.mu.Unlock()
	r := edition.NewReceipt(len(u))
	if answer != nil {
		answer(u, r)
		return r
	}
	for i, e := range u {
		if how.Make {
			e.Version = madeVersion
		}
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeStored, Version: e.Version})
	}
	return r
}

const madeVersion = 1_700_000_000_000

func (f *fake) State(k edition.Key) (edition.EndpointState, error) { return f.state(k) }

func (f *fake) delivered() []edition.Update {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.updates
}

// resolveAll answers every event of an update the same way.
func resolveAll(res edition.Result) func(edition.Update, *edition.Receipt) {
	return func(u edition.Update, r *edition.Receipt) {
		for i := range u {
			r.Resolve(i, res)
		}
	}
}

type fixture struct {
	*fake
	*Publisher
	reg   *prometheus.Registry
	key   edition.Key
	token string
}

const publicURL = "https://push.example"

func newFixture(tb testing.TB, limits Limits) *fixture {
	tb.Helper()
	f := &fixture{fake: &fake{}, reg: prometheus.NewRegistry()}
	f.key.UAID, f.key.AppID = [16]byte{1, 6: 0x40, 8: 0x80}, [16]byte{2, 6: 0x40, 8: 0x80} // the same in all fuzzing processes
	keys := ring(tb, 1)
	f.token = keys.Seal(f.key)
	f.Publisher = New(Options{Keys: keys, PublicURL: publicURL, Store: f.fake, Deliver: f.Deliver, Limits: limits, Metrics: f.reg})
	return f
}

// request does one request without a connection.
func (f *fixture) request(method, target, contentType, body string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, r)
	return rec.Result()
}

// put is a PUT to the fixture's endpoint; it returns status and body.
func (f *fixture) put(contentType, body string) (int, string) {
	return statusAndBody(f.request(http.MethodPut, "/v1/e/"+f.token, contentType, body))
}

func statusAndBody(resp *http.Response) (int, string) {
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, string(b)
}

// line is one line of a batch for the fixture's endpoint.
func (f *fixture) line(v edition.Version) string {
	return fmt.Sprintf(`{"endpoint":"%s/v1/e/%s","version":%d}`+"\n", publicURL, f.token, v)
}

// answered reads the metric of answers.
func (f *fixture) answered(tb testing.TB, d, why string) float64 {
	tb.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "edition_publish_answers_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == d && m.GetLabel()[1].GetValue() == why {
				return m.GetCounter().GetValue()
			}
		}
	}
	tb.Fatalf("no metric for %s, %s", d, why)
	return 0
}
