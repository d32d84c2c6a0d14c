package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-viper/mapstructure/v2"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/webhook"
	"github.com/edition-push/edition/kickdrivers/webhook/webhooksim"
)

func TestMain(m *testing.M) { leak.Main(m) }

// rig is a receiver, and what has arrived there.
type rig struct {
	*webhooksim.Server
	conf    webhook.Config
	mu      sync.Mutex
	arrived []webhooksim.Kick
	answers map[string]webhooksim.Answer // by the target's id
	request func(int) webhooksim.Answer
}

func newRig(t *testing.T, o webhooksim.Options) *rig {
	t.Helper()
	r := &rig{answers: make(map[string]webhooksim.Answer)}
	o.OnKick, o.Answer, o.Request = r.note, r.answer, r.whole
	var err error
	if r.Server, err = webhooksim.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	dir := t.TempDir()
	if err := r.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	entry := r.Entry(dir)
	delete(entry, "driver")
	r.conf = webhook.DefaultConfig()
	if err := mapstructure.Decode(entry, &r.conf); err != nil {
		t.Fatal(err)
	}
	r.conf.Timeout = time.Minute
	return r
}

func (r *rig) note(k webhooksim.Kick) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = append(r.arrived, k)
}

func (r *rig) answer(k webhooksim.Kick) webhooksim.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answers[k.ID]
}

func (r *rig) whole(n int) webhooksim.Answer {
	if r.request == nil {
		return webhooksim.Answer{}
	}
	return r.request(n)
}

func (r *rig) kicks() []webhooksim.Kick {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrived)
}

// answered is a target whose kicks are answered so.
func (r *rig) answered(id string, a webhooksim.Answer) json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[id] = a
	return fmt.Appendf(nil, `{"id":%q}`, id)
}

func (r *rig) open(t *testing.T) *webhook.Driver {
	t.Helper()
	d, err := webhook.New(r.conf, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// accept checks targets with these ids, and returns kicks of them.
func accept(t *testing.T, d *webhook.Driver, ids ...string) []driver.Kick {
	t.Helper()
	kicks := make([]driver.Kick, len(ids))
	for i, id := range ids {
		stored, err := d.Check(fmt.Appendf(nil, `{"id":%q}`, id), netip.Addr{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		kicks[i].Target = stored
	}
	return kicks
}

func (r *rig) subject(t *testing.T) kicktest.Subject {
	header := func(location string) http.Header { return http.Header{"Location": {location}} }
	return kicktest.Subject{
		Driver: r.open(t),
		Good:   func(i int) json.RawMessage { return fmt.Appendf(nil, `{"id":"lamp %d","data":{"room":%d}}`, i, i) },
		Alike: []json.RawMessage{
			[]byte(`{"id":"lamp 0"}`),
			[]byte(`{"id":"l\u0061mp 0","data":{"room":"elsewhere"}}`),
		},
		Malformed: []json.RawMessage{
			[]byte(`{"id":""}`),
			[]byte(`{"id":7}`),
			[]byte(`{"id":"two\nlines"}`),
			[]byte(`{"id":"lamp"}}`),
			[]byte(`{"id":"` + strings.Repeat("x", 257) + `"}`),
			[]byte(`{"id":"lamp","data":[1]}`),
			[]byte(`{"id":"lamp","data":{"nested":{"a":1}}}`),
			[]byte(`{"id":"lamp","data":{"list":[1]}}`),
			[]byte(`{"id":"lamp","data":{"nothing":null}}`),
		},
		Forbidden: []json.RawMessage{
			[]byte(`{"id":"lamp","data":{"x":"` + strings.Repeat("x", 1024) + `"}}`),
			[]byte(`{"id":"crowbar"}`),
		},
		Arrived: func() int { return len(r.kicks()) },
		Sent:    func() string { return fmt.Sprint(r.kicks()) },
		Secrets: []string{r.Secret(), strings.TrimPrefix(r.Secret(), "whsec_")},
		Outcomes: []kicktest.Outcome{
			{Name: "200", Target: r.answered("lamp 200", webhooksim.Answer{Status: 200})},
			{Name: "410", Target: r.answered("lamp 410", webhooksim.Answer{Status: 410}), Want: edition.ErrGone},
			{Name: "400", Target: r.answered("lamp 400", webhooksim.Answer{Status: 400}), Want: edition.ErrForbidden},
			{Name: "404", Target: r.answered("lamp 404", webhooksim.Answer{Status: 404}), Want: edition.ErrForbidden},
			{Name: "408", Target: r.answered("lamp 408", webhooksim.Answer{Status: 408}), Want: kicktest.AnError},
			{Name: "429", Target: r.answered("lamp 429", webhooksim.Answer{Status: 429}), Want: edition.ErrTooMany},
			{Name: "429, 70 s", Target: r.answered("lamp 429 70", webhooksim.Answer{Status: 429, RetryAfter: 70}), Want: edition.ErrTooMany, Retry: 70 * time.Second},
			{Name: "500", Target: r.answered("lamp 500", webhooksim.Answer{Status: 500}), Want: kicktest.AnError},
			{Name: "504", Target: r.answered("lamp 504", webhooksim.Answer{Status: 504}), Want: kicktest.AnError},
			{Name: "redirect", Target: r.answered("lamp 307", webhooksim.Answer{Status: 307, Header: header(r.URL())}), Want: kicktest.AnError},
		},
		Stuck: r.answered("lamp stuck", webhooksim.Answer{Hang: true}),
	}
}

func TestSuite(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		r := newRig(t, webhooksim.Options{})
		r.conf.Allow = "lamp.*"
		return r.subject(t)
	})
}

func TestSuiteBatched(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		r := newRig(t, webhooksim.Options{})
		r.conf.Allow, r.conf.Batch = "lamp.*", 100
		return r.subject(t)
	})
}

func TestSuiteUnix(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		dir, err := os.MkdirTemp("", "hook") // short: a socket's path is at most about 100 bytes
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		r := newRig(t, webhooksim.Options{Addr: "unix:" + filepath.Join(dir, "s")})
		r.conf.Allow = "lamp.*"
		return r.subject(t)
	})
}

func TestRequest(t *testing.T) {
	r := newRig(t, webhooksim.Options{})
	for _, size := range []int{1, 10} {
		r.conf.Batch = size
		d := r.open(t)
		target, err := d.Check([]byte(`{"driver":"x","id":"lamp <7>","data":{"on":true,"big":12345678901234567890,"a":"b"}}`), netip.Addr{}, 100)
		if want := `{"id":"lamp \u003c7\u003e","data":{"a":"b","big":12345678901234567890,"on":true}}`; err != nil || string(target) != want {
			t.Fatalf("stored %s, %v; want %s", target, err, want)
		}
		before := len(r.kicks())
		errs := make([]error, 1)
		for range 2 {
			d.Kick(t.Context(), []driver.Kick{{Target: target, Confirm: "AB12CD34"}}, errs)
			if errs[0] != nil {
				t.Fatal(errs[0])
			}
		}
		got := r.kicks()[before:]
		if len(got) != 2 || got[0].ID != "lamp <7>" || got[0].Confirm != "AB12CD34" || got[0].Data["a"] != "b" || got[0].Data["on"] != true || got[0].Batched != (size > 1) {
			t.Errorf("batch of %d: arrived %+v", size, got)
		}
		if got[0].Message == got[1].Message {
			t.Error("two requests have one id")
		}
		d.Close()
	}
}

// TestBatches counts requests: 250 kicks, of which 10 cannot be read, go in
// three.
func TestBatches(t *testing.T) {
	r := newRig(t, webhooksim.Options{})
	r.conf.Batch = 100
	var mu sync.Mutex
	var sizes []int
	r.request = func(n int) webhooksim.Answer {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, n)
		return webhooksim.Answer{}
	}
	d := r.open(t)
	defer d.Close()
	ids := make([]string, 250)
	for i := range ids {
		ids[i] = fmt.Sprint("lamp ", i)
	}
	kicks, errs := accept(t, d, ids...), make([]error, 250)
	for i := 0; i < 250; i += 25 {
		kicks[i].Target = []byte("noise")
	}
	r.answered("lamp 111", webhooksim.Answer{Status: 410})
	r.answered("lamp 112", webhooksim.Answer{Status: 503, RetryAfter: 1 << 40})
	r.answered("lamp 113", webhooksim.Answer{Status: 503})
	d.Kick(t.Context(), kicks, errs)
	for i, err := range errs {
		switch {
		case i%25 == 0 || i == 111:
			if !errors.Is(err, edition.ErrGone) {
				t.Errorf("kick %d: %v, want ErrGone", i, err)
			}
		case i == 112:
			if r, ok := errors.AsType[*edition.RetryError](err); !ok || r.After != 24*time.Hour || !errors.Is(err, edition.ErrTooMany) {
				t.Errorf("kick %d: %v", i, err)
			}
		case i == 113:
			if err == nil || errors.Is(err, edition.ErrUnavailable) {
				t.Errorf("kick %d: %v: of one target the receiver as a whole is blamed", i, err)
			}
		case err != nil:
			t.Errorf("kick %d: %v", i, err)
		}
	}
	slices.Sort(sizes)
	if !slices.Equal(sizes, []int{40, 100, 100}) || len(r.kicks()) != 237 {
		t.Errorf("requests of %v, %d kicks taken", sizes, len(r.kicks()))
	}
}

// TestWholeAnswers has answers that are about a request and not a kick.
func TestWholeAnswers(t *testing.T) {
	for _, c := range []struct {
		answer       webhooksim.Answer
		alone, batch error // nil: sent; kicktest.AnError: of no kind
		retry        time.Duration
	}{
		{answer: webhooksim.Answer{Status: 200}},
		{answer: webhooksim.Answer{Status: 202, Body: "taken"}},
		{answer: webhooksim.Answer{Status: 200, Body: `{"ok":true}`}},
		{answer: webhooksim.Answer{Status: 200, Body: `{"results":[]}`}, batch: kicktest.AnError},
		{answer: webhooksim.Answer{Status: 200, Body: `{"results":[{"status":200}]}`}, batch: kicktest.AnError},
		{answer: webhooksim.Answer{Status: 200, Body: `{"results":`}, batch: kicktest.AnError},
		{answer: webhooksim.Answer{Status: 200, Body: strings.Repeat(" ", 1<<17)}, batch: kicktest.AnError},
		{answer: webhooksim.Answer{Status: 410}, alone: edition.ErrGone, batch: kicktest.AnError},
		{answer: webhooksim.Answer{Status: 401}, alone: edition.ErrForbidden, batch: kicktest.AnError},
		{answer: webhooksim.Answer{Status: 500}, alone: kicktest.AnError, batch: kicktest.AnError},
		{answer: webhooksim.Answer{Status: 429, RetryAfter: 9}, alone: edition.ErrTooMany, batch: edition.ErrTooMany, retry: 9 * time.Second},
		{answer: webhooksim.Answer{Status: 503, RetryAfter: 9}, alone: edition.ErrUnavailable, batch: edition.ErrUnavailable, retry: 9 * time.Second},
		{answer: webhooksim.Answer{Status: 503}, alone: edition.ErrUnavailable, batch: edition.ErrUnavailable},
		{answer: webhooksim.Answer{Status: 502}, alone: edition.ErrUnavailable, batch: edition.ErrUnavailable},
	} {
		for size, want := range map[int]error{1: c.alone, 10: c.batch} {
			name := fmt.Sprintf("%d %.20q to batches of %d", c.answer.Status, c.answer.Body, size)
			r := newRig(t, webhooksim.Options{})
			r.conf.Batch, r.request = size, func(int) webhooksim.Answer { return c.answer }
			d := r.open(t)
			errs := make([]error, 2)
			d.Kick(t.Context(), accept(t, d, "lamp 1", "lamp 2"), errs)
			for _, err := range errs {
				switch {
				case errors.Is(want, kicktest.AnError):
					if err == nil || errors.Is(err, edition.ErrGone) || errors.Is(err, edition.ErrForbidden) || errors.Is(err, edition.ErrTooMany) || errors.Is(err, edition.ErrUnavailable) {
						t.Errorf("%s: %v", name, err)
					}
				case !errors.Is(err, want):
					t.Errorf("%s: %v, want %v", name, err, want)
				}
				if r, ok := errors.AsType[*edition.RetryError](err); c.retry > 0 && (!ok || r.After != c.retry) {
					t.Errorf("%s: %v, want to come back after %v", name, r, c.retry)
				}
			}
			d.Close()
		}
	}
}

func TestDown(t *testing.T) {
	r := newRig(t, webhooksim.Options{})
	d := r.open(t)
	defer d.Close()
	r.Close()
	errs := make([]error, 1)
	if d.Kick(t.Context(), accept(t, d, "lamp"), errs); !errors.Is(errs[0], edition.ErrUnavailable) {
		t.Errorf("%v", errs[0])
	}
}

// TestSilent has a receiver that takes too long: it may be because of the one
// kick.
func TestSilent(t *testing.T) {
	r := newRig(t, webhooksim.Options{})
	r.conf.Timeout = 100 * time.Millisecond
	r.answered("lamp", webhooksim.Answer{Hang: true})
	var asked atomic.Bool
	r.request = func(int) webhooksim.Answer { asked.Store(true); return webhooksim.Answer{} }
	d := r.open(t)
	defer d.Close()
	errs := make([]error, 1)
	// The time may be over before there is a connection: then again.
	for begun := time.Now(); !asked.Load() && time.Since(begun) < time.Minute; {
		errs[0] = nil
		d.Kick(t.Context(), accept(t, d, "lamp"), errs)
	}
	if errs[0] == nil || errors.Is(errs[0], edition.ErrUnavailable) {
		t.Errorf("%v", errs[0])
	}
}

// TestRotation has receivers that know the old, the new or another secret.
func TestRotation(t *testing.T) {
	secret := func(c string) string {
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(c, 24)))
	}
	old, young := secret("a"), secret("b")
	t.Setenv("OLD", old)
	t.Setenv("YOUNG", strings.TrimPrefix(young, "whsec_"))
	for known, want := range map[string]error{old: nil, young: nil, secret("c"): edition.ErrForbidden} {
		r := newRig(t, webhooksim.Options{Secret: known})
		r.conf.Secrets = []driver.Secret{{Env: "OLD"}, {Env: "YOUNG"}}
		d := r.open(t)
		errs := make([]error, 1)
		if d.Kick(t.Context(), accept(t, d, "lamp"), errs); !errors.Is(errs[0], want) {
			t.Errorf("%v, want %v", errs[0], want)
		}
		d.Close()
	}
}

// TestReceiver is a receiver written with another's library alone.
func TestReceiver(t *testing.T) {
	r := newRig(t, webhooksim.Options{})
	hook, err := standardwebhooks.NewWebhook(r.Secret())
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if body, err = io.ReadAll(req.Body); err == nil {
			err = hook.Verify(body, req.Header)
		}
		if req.URL.RequestURI() != "/kick?from=edition" || req.Header.Get("Content-Type") != "application/json" {
			err = fmt.Errorf("asked for %s with %v", req.URL, req.Header)
		}
	}))
	r.conf.URL = s.URL + "/kick?from=edition"
	d := r.open(t)
	defer d.Close()
	errs := make([]error, 1)
	d.Kick(t.Context(), accept(t, d, "lamp"), errs)
	s.Close() // and with it, its goroutines
	if errs[0] != nil || err != nil || !strings.HasPrefix(string(body), `{"type":"kick","timestamp":"`) || !strings.HasSuffix(string(body), `","data":{"target":{"id":"lamp"}}}`) {
		t.Errorf("%v, %v, body %s", errs[0], err, body)
	}
}

func TestShow(t *testing.T) {
	r := newRig(t, webhooksim.Options{})
	d := r.open(t)
	defer d.Close()
	got, err := d.Show(driver.Kick{Target: []byte(`{"id":"lamp"}`), Confirm: "AB12CD34"})
	for _, want := range []string{
		"POST " + r.URL() + "\n", "Webhook-Id: msg_<random>\n", `{"type":"kick","timestamp":"<now>",`, "Webhook-Signature: v1,<signature>\n", `"data":{"target":{"id":"lamp"},"confirm":"AB12CD34"}}`,
	} {
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("Show: %v\n%s\nwithout %q", err, got, want)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Setenv("SHORT", "whsec_c2hvcnQ=")
	t.Setenv("NOISE", "this-is-a-secret!")
	good := newRig(t, webhooksim.Options{}).conf
	for _, c := range []struct {
		key    string
		change func(*webhook.Config)
	}{
		{"url", func(c *webhook.Config) { c.URL = "" }},
		{"url", func(c *webhook.Config) { c.URL = "kicks.example.org" }},
		{"url", func(c *webhook.Config) { c.URL = "ftp://kicks.example.org" }},
		{"url", func(c *webhook.Config) { c.URL = "https://user@kicks.example.org" }},
		{"url", func(c *webhook.Config) { c.URL = "https:///kick" }},
		{"url", func(c *webhook.Config) { c.URL = "unix:relative" }},
		{"secrets", func(c *webhook.Config) { c.Secrets = nil }},
		{"secrets", func(c *webhook.Config) { c.Secrets = slices.Repeat(c.Secrets, 6) }},
		{"secrets[1]", func(c *webhook.Config) { c.Secrets = append(slices.Clone(c.Secrets), driver.Secret{}) }},
		{"secrets[0]", func(c *webhook.Config) { c.Secrets = []driver.Secret{{Env: "SHORT"}} }},
		{"secrets[0]", func(c *webhook.Config) { c.Secrets = []driver.Secret{{Env: "NOISE"}} }},
		{"batch", func(c *webhook.Config) { c.Batch = 0 }},
		{"batch", func(c *webhook.Config) { c.Batch = 257 }},
		{"allow", func(c *webhook.Config) { c.Allow = "a)|(b" }},
		{"max_data", func(c *webhook.Config) { c.MaxData = 1025 }},
		{"timeout", func(c *webhook.Config) { c.Timeout = 0 }},
		{"parallel_requests", func(c *webhook.Config) { c.ParallelRequests = 0 }},
		{"tls.key_file", func(c *webhook.Config) { c.TLS.CertFile = "x.pem" }},
	} {
		conf := good
		c.change(&conf)
		faults := conf.Faults()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), c.key+": ") || strings.Contains(faults[0].Error(), "this-is-a-secret") {
			t.Errorf("%s: faults %v", c.key, faults)
		}
		if _, err := webhook.New(conf, driver.Env{}); !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%s: New: %v", c.key, err)
		}
	}
}
