package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	node "github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/gateway"
	"github.com/edition-push/edition/kickdrivers/kicktest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// subject is the driver with the other node, reached in either way.
func subject(t *testing.T, d *gateway.Driver, f *far) kicktest.Subject {
	t.Helper()
	to := func(id string) json.RawMessage {
		return fmt.Appendf(nil, `{"route":{"driver":"far","id":%q}}`, id)
	}
	return kicktest.Subject{
		Driver: d,
		From:   netip.MustParseAddr("10.1.2.3"),
		Good:   func(i int) json.RawMessage { return to(fmt.Sprintf("lamp %d", i)) },
		Alike: []json.RawMessage{
			[]byte(`{"route": {"id":"lamp 0", "driver":"far"}}`),
			[]byte(`{"route":{"driver":"far","id":"lamp\u00200","why":"to look like another"}}`),
		},
		Malformed: []json.RawMessage{
			[]byte(`{"route":{"id":"lamp"}}`),
			[]byte(`{"route":{"driver":"Far","id":"lamp"}}`),
			[]byte(`{"route":[{"driver":"far","id":"lamp"}]}`),
			[]byte(`{"route":{"driver":"far","id":"lamp","id":"light"}}`),
			[]byte(`{"route":{"driver":"far","id":"lamp","Id":"light"}}`),
			[]byte(`{"route":{"driver":"far","ip":"10.1.1.1","id":"lamp"}}`),
			[]byte(`{"route":{"driver":"far","route":{"id":"x"}}}`),
			[]byte(`{"route":{"driver":"far","id":"` + strings.Repeat("x", 2048) + `"}}`),
			[]byte(`{"route":{"driver":"a","route":{"driver":"a","route":{"driver":"a","route":{"driver":"far"}}}}}`),
		},
		Forbidden: []json.RawMessage{[]byte(`{"route":{"driver":"other","id":"lamp"}}`)},
		Arrived:   f.arrived,
		Sent:      f.text,
		Secrets:   []string{token},
		Outcomes: []kicktest.Outcome{
			{Name: "gone", Target: to("gone"), Want: edition.ErrGone},
			{Name: "refused by the driver", Target: to("refused"), Want: edition.ErrForbidden},
			{Name: "refused by the configuration", Target: to("forbidden"), Want: edition.ErrForbidden},
			{Name: "makes no sense there", Target: to("malformed"), Want: edition.ErrForbidden},
			{Name: "held back", Target: to("held back"), Want: edition.ErrTooMany, Retry: 7 * time.Second},
			{Name: "its provider fails", Target: to("provider"), Want: kicktest.AnError},
			{Name: "fails", Target: to("failed"), Want: kicktest.AnError},
		},
		Stuck: to("stuck"),
	}
}

func TestSuiteByURL(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		f, g := other(t)
		c := config(t, serve(t, g))
		c.Drivers = []string{"far"}
		return subject(t, open(t, c, driver.Env{}), f)
	})
}

func TestSuiteByRelay(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		f, g := other(t)
		c := gateway.DefaultConfig()
		c.Relay, c.Drivers, c.Timeout = "inside", []string{"far"}, 30*time.Second
		return subject(t, open(t, c, driver.Env{Through: through(g)}), f)
	})
}

// TestAnswers has a server answer a kick in all ways, some of them no
// gateway's.
func TestAnswers(t *testing.T) {
	problem := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"status":%d,"detail":"because\n%s"}`, status, strings.Repeat("x", 1000))
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error // nil: an error that is none of those that say more
		retry  time.Duration
	}{
		"400": {problem(400), edition.ErrForbidden, 0},
		"401": {problem(401), edition.ErrUnavailable, 0},
		"403": {problem(403), edition.ErrForbidden, 0},
		"404": {problem(404), edition.ErrUnavailable, 0},
		"405": {problem(405), edition.ErrUnavailable, 0},
		"413": {problem(413), edition.ErrForbidden, 0},
		"429": {problem(429, "Retry-After", "9"), edition.ErrTooMany, 9 * time.Second},
		"500": {problem(500), nil, 0},
		"502": {problem(502), edition.ErrUnavailable, 0},
		"503": {problem(503, "Retry-After", "3"), edition.ErrUnavailable, 3 * time.Second},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, edition.ErrUnavailable, 0},
		"200 of a web page": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, edition.ErrUnavailable, 0},
		"202 of a stranger": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, edition.ErrUnavailable, 0},
		"202 with a bad id": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(202)
			fmt.Fprint(w, `{"id":"../../admin"}`)
		}, edition.ErrUnavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			err := kickOnce(t, open(t, config(t, s.URL), driver.Env{}), `{"driver":"far","id":"lamp"}`)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want == nil && (errors.Is(err, edition.ErrUnavailable) || errors.Is(err, edition.ErrForbidden) || errors.Is(err, edition.ErrGone)) {
				t.Errorf("got %v", err)
			}
			if r, ok := errors.AsType[*edition.RetryError](err); ok != (c.retry > 0) || ok && r.After != c.retry {
				t.Errorf("%v: to come back after %v, want %v", err, r, c.retry)
			}
			if text := err.Error(); len(text) > 400 || strings.ContainsAny(text, "\n") {
				t.Errorf("the error repeats too much: %q", text)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	err := kickOnce(t, open(t, config(t, "http://"+kicktest.Nobody(t)), driver.Env{}), `{"driver":"far","id":"lamp"}`)
	if !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	for name, env := range map[string]driver.Env{
		"no relay can be": {},
		"another relay":   {Through: through(nil)},
	} {
		c := gateway.DefaultConfig()
		c.Relay = "outside"
		if err := kickOnce(t, open(t, c, env), `{"driver":"far","id":"lamp"}`); !errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTakenIsSent has the gateway take kicks and lose what became of them.
func TestTakenIsSent(t *testing.T) {
	// Each kick has a gateway of its own: a question that was given up may
	// arrive late.
	kick := func(wait time.Duration) (questions int32) {
		var asked atomic.Int32
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(202)
				fmt.Fprint(w, `{"id":"abc","state":"waiting"}`)
				return
			}
			asked.Add(1)
			w.WriteHeader(404)
		}))
		defer s.Close()
		c := config(t, s.URL)
		c.Wait = wait
		if err := kickOnce(t, open(t, c, driver.Env{}), `{"driver":"far","id":"lamp"}`); err != nil {
			t.Errorf("with a wait of %v: %v", wait, err)
		}
		return asked.Load()
	}
	// On a machine that stands still the time may be over before a question.
	questions := int32(0)
	for wait := 100 * time.Millisecond; questions == 0 && wait < time.Minute; wait *= 4 {
		questions = kick(wait)
	}
	if questions == 0 {
		t.Error("nobody asked for the outcome")
	}
	if n := kick(0); n != 0 {
		t.Errorf("%d questions without a wait", n)
	}
}

// TestWords goes through all outcomes that a dispatcher has words for.
func TestWords(t *testing.T) {
	for o, want := range map[kickdrivers.Outcome]error{
		kickdrivers.Sent: nil, kickdrivers.Answered: nil, kickdrivers.Unanswered: nil,
		kickdrivers.Gone: edition.ErrGone, kickdrivers.Refused: edition.ErrForbidden,
		kickdrivers.RateLimited: edition.ErrTooMany, kickdrivers.BreakerOpen: edition.ErrTooMany,
		kickdrivers.Failed: kicktest.AnError, kickdrivers.GaveUp: kicktest.AnError,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(202)
			}
			fmt.Fprintf(w, `{"id":"abc","state":"waiting","outcome":%q}`, o)
		}))
		err := kickOnce(t, open(t, config(t, s.URL), driver.Env{}), `{"driver":"far","id":"lamp"}`)
		s.Close()
		switch {
		case want == nil && err != nil, want != nil && err == nil:
			t.Errorf("%s: %v", o, err)
		case errors.Is(want, kicktest.AnError):
			if errors.Is(err, edition.ErrGone) || errors.Is(err, edition.ErrForbidden) || errors.Is(err, edition.ErrUnavailable) {
				t.Errorf("%s: %v", o, err)
			}
		case want != nil && !errors.Is(err, want):
			t.Errorf("%s: %v, want %v", o, err, want)
		}
		if errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("%s of one driver there stops all kicks here: %v", o, err)
		}
	}
}

// TestWrongToken is a fault of this node: all its kicks wait.
func TestWrongToken(t *testing.T) {
	s := httptest.NewServer(node.New(node.Options{Callers: []node.Caller{{Name: "x", Tokens: []string{"another token"}}}}))
	defer s.Close()
	if err := kickOnce(t, open(t, config(t, s.URL), driver.Env{}), `{"driver":"far","id":"lamp"}`); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// TestAims has devices write one target in many ways.
func TestAims(t *testing.T) {
	d := open(t, config(t, "http://127.0.0.1:1"), driver.Env{})
	aim := func(route string) string {
		t.Helper()
		target, err := d.Check(json.RawMessage(`{"route":`+route+`}`), netip.Addr{}, 100)
		if err != nil {
			t.Fatalf("%s: %v", route, err)
		}
		a := d.Aim(target)
		if a == "" {
			t.Errorf("%s aims at nothing", route)
		}
		return a
	}
	for _, alike := range [][]string{
		{
			`{"driver":"udp","ip":"10.1.2.3","port":4000}`,
			`{"driver":"udp","port":4000,"ip":"10.1.2.3","proto":"tcp"}`,
			`{"driver":"udp2","ip":"::ffff:10.1.2.3","port":4000,"junk":7}`,
			`{"driver":"gw","route":{"driver":"udp","ip":"10.1.2.3","port":4000,"junk":8},"junk":9}`,
		},
		{`{"driver":"udp","ip":"2001:db8::1","port":4000}`, `{"driver":"udp","ip":"2001:0db8:0::1","port":4000}`},
		{`{"driver":"sms","msisdn":"+34600111222"}`, `{"driver":"sms","msisdn":"+34 600 111 222"}`},
		{`{"driver":"fcm","token":"abc"}`, `{"driver":"fcm","topic":"x","token":"abc"}`},
		{`{"driver":"x","a":1}`, `{ "a" : 1, "driver":"x"}`},
	} {
		for _, other := range alike[1:] {
			if aim(other) != aim(alike[0]) {
				t.Errorf("%s and %s have two budgets", alike[0], other)
			}
		}
	}
	if aim(`{"driver":"udp","ip":"10.1.2.3","port":4000}`) == aim(`{"driver":"udp","ip":"10.1.2.3","port":4001}`) {
		t.Error("two ports share a budget")
	}
}

func TestFaults(t *testing.T) {
	for want, change := range map[string]func(*gateway.Config){
		"":                        func(*gateway.Config) {},
		"url: is not given":       func(c *gateway.Config) { c.URL = "" },
		"relay: is given":         func(c *gateway.Config) { c.Relay = "x" },
		`url: "ftp://x"`:          func(c *gateway.Config) { c.URL = "ftp://x" },
		`url: "http://u:p@x"`:     func(c *gateway.Config) { c.URL = "http://u:p@x" },
		"token: is not given":     func(c *gateway.Config) { c.Token = driver.Secret{} },
		"token: open /no/such":    func(c *gateway.Config) { c.Token = driver.Secret{File: "/no/such"} },
		"token: and certificates": func(c *gateway.Config) { c.URL, c.Relay = "", "x" },
		"tls.ca_file: ":           func(c *gateway.Config) { c.TLS.CAFile = "/no/such" },
		`drivers[0]: "A B"`:       func(c *gateway.Config) { c.Drivers = []string{"A B"} },
		"wait: 2m":                func(c *gateway.Config) { c.Wait = 2 * time.Minute },
		"timeout: 1ms":            func(c *gateway.Config) { c.Timeout = time.Millisecond },
		"parallel_requests: 0":    func(c *gateway.Config) { c.ParallelRequests = 0 },
	} {
		c := config(t, "https://relay.example.org:8443")
		change(&c)
		err := errors.Join(c.Faults()...)
		if want == "" {
			if err != nil {
				t.Errorf("faults of a good configuration: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q", shortened(fmt.Sprint(err)), want)
		}
		if _, err := gateway.New(c, driver.Env{}); !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%s: New: %v", want, err)
		}
	}
}
