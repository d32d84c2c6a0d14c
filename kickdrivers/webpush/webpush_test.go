package webpush_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-viper/mapstructure/v2"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/webpush"
	"github.com/edition-push/edition/kickdrivers/webpush/webpushsim"
)

func TestMain(m *testing.M) { leak.Main(m) }

// timeout is what no answer takes, on the slowest machine.
const timeout = time.Minute

// rig is a push service, and what has arrived there.
type rig struct {
	*webpushsim.Server
	keys    webpush.Keys
	conf    webpush.Config
	mu      sync.Mutex
	arrived []webpushsim.Kick
	answers map[string]webpushsim.Answer // by endpoint
}

func newRig(t testing.TB) *rig {
	t.Helper()
	keys, err := webpush.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{keys: keys, answers: make(map[string]webpushsim.Answer)}
	r.Server, err = webpushsim.Start(webpushsim.Options{VAPIDKey: keys.Public, OnKick: r.note, Answer: r.answer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	dir := t.TempDir()
	if err := r.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "vapid"), keys.Private)
	r.conf = webpush.DefaultConfig()
	r.conf.Hosts = []string{r.Addr()}
	r.conf.Networks = []string{"127.0.0.1/32"}
	r.conf.VAPIDKey.File = filepath.Join(dir, "vapid")
	r.conf.Subject = "mailto:push@example.org"
	r.conf.Timeout = timeout
	r.conf.TLS.CAFile = filepath.Join(dir, webpushsim.FileCA)
	return r
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) note(k webpushsim.Kick) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = append(r.arrived, k)
}

func (r *rig) answer(k webpushsim.Kick) webpushsim.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answers[k.Endpoint]
}

func (r *rig) kicks() []webpushsim.Kick {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]webpushsim.Kick(nil), r.arrived...)
}

func (r *rig) sent() string {
	var b strings.Builder
	for _, k := range r.kicks() {
		fmt.Fprintf(&b, "%s %s\n", k.Endpoint, k.Data)
	}
	return b.String()
}

func (r *rig) subscribe(t testing.TB) webpushsim.Subscription {
	t.Helper()
	s, err := r.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answered is a subscription whose pushes are answered so.
func (r *rig) answered(t *testing.T, a webpushsim.Answer) json.RawMessage {
	t.Helper()
	s := r.subscribe(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[s.Endpoint] = a
	return raw(t, s)
}

func raw(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *rig) open(t testing.TB) *webpush.Driver {
	t.Helper()
	d, err := webpush.New(r.conf, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func check(t testing.TB, d *webpush.Driver, target json.RawMessage) json.RawMessage {
	t.Helper()
	stored, err := d.Check(target, netip.Addr{}, 1000)
	if err != nil {
		t.Fatalf("Check(%s): %v", target, err)
	}
	return stored
}

func kick(t *testing.T, d *webpush.Driver, k driver.Kick) error {
	t.Helper()
	errs := make([]error, 1)
	d.Kick(t.Context(), []driver.Kick{k}, errs)
	return errs[0]
}

func TestSuite(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		r := newRig(t)
		subs := make([]webpushsim.Subscription, kicktest.Targets)
		for i := range subs {
			subs[i] = r.subscribe(t)
		}
		first := subs[0]
		alike := func(endpoint string) json.RawMessage {
			return raw(t, webpushsim.Subscription{Endpoint: endpoint, Keys: first.Keys})
		}
		last := len(first.Endpoint) - 1
		escaped := fmt.Sprintf("%s%%%02x", first.Endpoint[:last], first.Endpoint[last])
		gone := r.subscribe(t)
		r.Unsubscribe(gone.Endpoint)
		header := func(retry string) http.Header { return http.Header{"Retry-After": {retry}} }
		bad := func(p256dh, auth string) json.RawMessage {
			return raw(t, webpushsim.Subscription{Endpoint: first.Endpoint, Keys: webpushsim.Keys{P256DH: p256dh, Auth: auth}})
		}
		return kicktest.Subject{
			Driver: r.open(t),
			Good:   func(i int) json.RawMessage { return raw(t, subs[i]) },
			Alike: []json.RawMessage{
				alike(strings.Replace(first.Endpoint, "https", "HTTPS", 1)),
				alike(first.Endpoint + "#fragment"),
				alike(escaped),
				alike(strings.Replace(first.Endpoint, "127.0.0.1", "[::ffff:127.0.0.1]", 1)),
				raw(t, map[string]string{"endpoint": first.Endpoint}), // other keys aim at the same
				raw(t, webpushsim.Subscription{Endpoint: first.Endpoint, Keys: subs[1].Keys}),
			},
			Malformed: []json.RawMessage{
				[]byte(`{"endpoint":""}`),
				[]byte(`{"endpoint":7}`),
				[]byte(`{"endpoint":"push"}`),
				alike(r.URL() + "/push/../" + strings.Repeat("x", 8)),
				alike(r.URL() + "/push/%2e%2E/x"),
				alike(r.URL() + "/" + strings.Repeat("x", 3000)),
				bad("", ""),
				bad(first.Keys.P256DH, ""),
				bad("", first.Keys.Auth),
				bad(first.Keys.P256DH, first.Keys.Auth+"AAAA"),
				bad(first.Keys.P256DH[:20], first.Keys.Auth),
				bad(base64.RawURLEncoding.EncodeToString(append([]byte{4}, make([]byte, 64)...)), first.Keys.Auth), // not on the curve
				bad("!", first.Keys.Auth),
			},
			Forbidden: []json.RawMessage{
				alike("http://" + r.Addr() + "/push/x"),
				alike("https://evil.example/push/x"),
				alike("https://" + r.Addr() + "@evil.example/push/x"),
				alike("https://127.0.0.1/push/x"),
				alike("https://169.254.169.254/latest/meta-data"),
			},
			Arrived: func() int { return len(r.kicks()) },
			Sent:    r.sent,
			Secrets: []string{r.keys.Private, "t=ey"},
			Outcomes: []kicktest.Outcome{
				{Name: "200", Target: r.answered(t, webpushsim.Answer{Status: 200})},
				{Name: "202", Target: r.answered(t, webpushsim.Answer{Status: 202, Body: strings.Repeat("x", 1<<20)})},
				{Name: "unknown", Target: alike(r.URL() + "/push/unknown"), Want: edition.ErrGone},
				{Name: "unsubscribed", Target: raw(t, gone), Want: edition.ErrGone},
				{Name: "redirect", Target: r.answered(t, webpushsim.Answer{Status: 307, Header: http.Header{"Location": {first.Endpoint}}}), Want: edition.ErrForbidden},
				{Name: "400", Target: r.answered(t, webpushsim.Answer{Status: 400}), Want: edition.ErrForbidden},
				{Name: "401", Target: r.answered(t, webpushsim.Answer{Status: 401}), Want: edition.ErrForbidden},
				{Name: "403", Target: r.answered(t, webpushsim.Answer{Status: 403}), Want: edition.ErrForbidden},
				{Name: "413", Target: r.answered(t, webpushsim.Answer{Status: 413}), Want: edition.ErrForbidden},
				{Name: "408", Target: r.answered(t, webpushsim.Answer{Status: 408}), Want: kicktest.AnError},
				{Name: "429", Target: r.answered(t, webpushsim.Answer{Status: 429}), Want: edition.ErrTooMany},
				{Name: "429, 70 s", Target: r.answered(t, webpushsim.Answer{Status: 429, Header: header("70")}), Want: edition.ErrTooMany, Retry: 70 * time.Second},
				{Name: "503, 30 s", Target: r.answered(t, webpushsim.Answer{Status: 503, Header: header("30")}), Want: edition.ErrTooMany, Retry: 30 * time.Second},
				{Name: "503", Target: r.answered(t, webpushsim.Answer{Status: 503}), Want: kicktest.AnError},
				{Name: "500", Target: r.answered(t, webpushsim.Answer{Status: 500}), Want: kicktest.AnError},
				{Name: "another's keys", Target: raw(t, webpushsim.Subscription{Endpoint: subs[2].Endpoint, Keys: subs[3].Keys}), Want: edition.ErrForbidden},
			},
			Stuck: r.answered(t, webpushsim.Answer{Hang: true}),
		}
	})
}

func TestRequest(t *testing.T) {
	r := newRig(t)
	r.conf.TTL, r.conf.Urgency, r.conf.Topic = 90*time.Second, "normal", "one"
	d := r.open(t)
	defer d.Close()
	sub := r.subscribe(t)
	whole, bare := check(t, d, raw(t, sub)), check(t, d, raw(t, map[string]string{"endpoint": sub.Endpoint}))
	for _, c := range []struct {
		name string
		kick driver.Kick
		want webpushsim.Kick
	}{
		{"with a message", driver.Kick{Target: whole}, webpushsim.Kick{Topic: "one", Data: []byte(`{"type":"kick"}`)}},
		{"without keys", driver.Kick{Target: bare}, webpushsim.Kick{Topic: "one"}},
		{"with a code", driver.Kick{Target: whole, Confirm: "AB12CD34"}, webpushsim.Kick{Data: []byte(`{"type":"kick","confirm":"AB12CD34"}`)}},
	} {
		before := len(r.kicks())
		if err := kick(t, d, c.kick); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		c.want.Endpoint, c.want.TTL, c.want.Urgency, c.want.Subject = sub.Endpoint, 90, "normal", "mailto:push@example.org"
		if got := r.kicks()[before:]; len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(c.want) || (got[0].Data == nil) != (c.want.Data == nil) {
			t.Errorf("%s: arrived %+v, want %+v", c.name, got, c.want)
		}
	}
	if err := kick(t, d, driver.Kick{Target: bare, Confirm: "AB12CD34"}); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("a code without keys: %v", err)
	}
}

func TestShow(t *testing.T) {
	r := newRig(t)
	d := r.open(t)
	defer d.Close()
	sub := r.subscribe(t)
	got, err := d.Show(driver.Kick{Target: check(t, d, raw(t, sub)), Confirm: "AB12CD34"})
	for _, want := range []string{
		"POST " + sub.Endpoint + "\n", "Ttl: 86400\n", "Urgency: high\n", "Content-Encoding: aes128gcm\n",
		"Authorization: vapid t=<signed token>, k=" + r.keys.Public + "\n", `{"type":"kick","confirm":"AB12CD34"}`,
	} {
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("Show: %v\n%s\nwithout %q", err, got, want)
		}
	}
	if n := len(r.kicks()); n != 0 {
		t.Errorf("Show sent %d kicks", n)
	}
}

// TestNarrowed has a host that the operator has taken off the list since a
// device registered, and an address that is no longer listed.
func TestNarrowed(t *testing.T) {
	r := newRig(t)
	d := r.open(t)
	target := check(t, d, raw(t, r.subscribe(t)))
	d.Close()
	hosts, networks := r.conf.Hosts, r.conf.Networks
	r.conf.Hosts = []string{"push.example.org"}
	d = r.open(t)
	if err := kick(t, d, driver.Kick{Target: target}); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("a host that is no longer listed: %v", err)
	}
	d.Close()
	r.conf.Hosts, r.conf.Networks = hosts, nil
	d = r.open(t)
	if err := kick(t, d, driver.Kick{Target: target}); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("a network that is no longer listed: %v", err)
	}
	d.Close()
	if len(networks) == 0 || len(r.kicks()) != 0 {
		t.Errorf("%d kicks arrived", len(r.kicks()))
	}
}

// TestDown tells a push service that cannot be reached, where it is the only
// one, from one among many: any device could name that one.
func TestDown(t *testing.T) {
	r := newRig(t)
	sub := r.subscribe(t)
	addr := r.Addr()
	r.Close()
	for _, c := range []struct {
		hosts []string
		want  bool
	}{
		{[]string{addr}, true},
		{[]string{addr, "push.example.org"}, false},
	} {
		r.conf.Hosts = c.hosts
		d := r.open(t)
		err := kick(t, d, driver.Kick{Target: check(t, d, raw(t, sub))})
		if err == nil || errors.Is(err, edition.ErrUnavailable) != c.want || strings.Contains(err.Error(), "/push/") {
			t.Errorf("of %d hosts one is down: %v", len(c.hosts), err)
		}
		d.Close()
	}
}

// TestEntry has the entry and the files that the simulator writes.
func TestEntry(t *testing.T) {
	arrived := make(chan webpushsim.Kick, 1)
	s, err := webpushsim.Start(webpushsim.Options{OnKick: func(k webpushsim.Kick) { arrived <- k }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	if err := s.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	entry := s.Entry(dir)
	delete(entry, "driver")
	conf := webpush.DefaultConfig()
	conf.Timeout = timeout
	if err := mapstructure.Decode(entry, &conf); err != nil {
		t.Fatal(err)
	}
	d, err := webpush.New(conf, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	sub, err := os.ReadFile(filepath.Join(dir, webpushsim.FileSubscription))
	if err != nil {
		t.Fatal(err)
	}
	if err := kick(t, d, driver.Kick{Target: check(t, d, sub)}); err != nil {
		t.Fatal(err)
	}
	if k := <-arrived; string(k.Data) != `{"type":"kick"}` {
		t.Errorf("arrived %+v", k)
	}
}

func TestServerErrorsAreShort(t *testing.T) {
	r := newRig(t)
	d := r.open(t)
	defer d.Close()
	target := check(t, d, r.answered(t, webpushsim.Answer{Status: 500, Body: strings.Repeat("secret", 1000)}))
	if err := kick(t, d, driver.Kick{Target: target}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestWrongKey(t *testing.T) {
	r := newRig(t)
	other, err := webpush.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	write(t, r.conf.VAPIDKey.File, other.Private)
	d := r.open(t)
	defer d.Close()
	if err := kick(t, d, driver.Kick{Target: check(t, d, raw(t, r.subscribe(t)))}); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("a subscription for another key: %v", err)
	}
}

// TestSpellings reads keys as browsers, servers and libraries write them.
func TestSpellings(t *testing.T) {
	r := newRig(t)
	d := r.open(t)
	defer d.Close()
	sub := r.subscribe(t)
	want := check(t, d, raw(t, sub))
	for _, enc := range []*base64.Encoding{base64.URLEncoding, base64.StdEncoding, base64.RawStdEncoding} {
		again := func(s string) string {
			b, err := base64.RawURLEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			return enc.EncodeToString(b)
		}
		s := sub
		s.Keys = webpushsim.Keys{P256DH: again(sub.Keys.P256DH), Auth: again(sub.Keys.Auth)}
		if got := check(t, d, raw(t, s)); string(got) != string(want) {
			t.Errorf("stored as %s, want %s", got, want)
		}
	}
	// Whatever a browser adds.
	var browser map[string]any
	if err := json.NewDecoder(strings.NewReader(string(raw(t, sub)))).Decode(&browser); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	browser["expirationTime"] = nil
	if got := check(t, d, raw(t, browser)); string(got) != string(want) {
		t.Errorf("stored as %s, want %s", got, want)
	}
}
