package apns_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/apns"
	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

func TestMain(m *testing.M) { leak.Main(m) }

const topic = "com.example.app"

// wait bounds what must happen, on the slowest machine.
const wait = 2 * time.Minute

// device is the token of the i-th device. Its last two digits choose how the
// simulator answers; those of devices are never above 0x0f.
func device(i int) string { return fmt.Sprintf("%062x%02x", i, i%16) }

// odd is the token of a device that the simulator answers in its n-th way.
func odd(n int) string { return fmt.Sprintf("%062x%02x", n, 0x80+n) }

func targetOf(token string) json.RawMessage { return fmt.Appendf(nil, `{"token":%q}`, token) }

// inbox keeps what has arrived at a simulator.
type inbox struct {
	mu    sync.Mutex
	kicks []apnssim.Kick
}

func (b *inbox) add(k apnssim.Kick) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kicks = append(b.kicks, k)
}

func (b *inbox) all() []apnssim.Kick {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]apnssim.Kick(nil), b.kicks...)
}

func (b *inbox) text() string {
	var s strings.Builder
	for _, k := range b.all() {
		s.Write(k.Body)
	}
	return s.String()
}

// peer is a simulator with its files in a folder.
type peer struct {
	*apnssim.Server
	inbox
	dir string
}

func start(t *testing.T, o apnssim.Options) *peer {
	t.Helper()
	p := &peer{dir: t.TempDir()}
	o.OnKick = p.add
	var err error
	if p.Server, err = apnssim.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.WriteFiles(p.dir); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) file(name string) string { return filepath.Join(p.dir, name) }

// config sends to the simulator, with a token.
func (p *peer) config() apns.Config {
	c := apns.DefaultConfig()
	c.Host = p.URL()
	c.Topics = []string{topic}
	c.TokenKey = driver.Secret{File: p.file(apnssim.KeyFile)}
	c.KeyID, c.TeamID = apnssim.KeyID, apnssim.TeamID
	c.TLS = outbound.TLS{CAFile: p.file(simtls.CAFile)}
	c.Timeout = wait
	return c
}

func open(t *testing.T, c apns.Config) *apns.Driver {
	t.Helper()
	d, err := apns.New(c, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// kick wakes devices and returns what became of each.
func kick(t *testing.T, d *apns.Driver, tokens ...string) []error {
	t.Helper()
	kicks, errs := make([]driver.Kick, len(tokens)), make([]error, len(tokens))
	for i, token := range tokens {
		target, err := d.Check(targetOf(token), from, 500)
		if err != nil {
			t.Fatal(err)
		}
		kicks[i].Target = target
	}
	d.Kick(t.Context(), kicks, errs)
	return errs
}

// answers are Apple's, and what the driver makes of them.
var answers = []struct {
	answer apnssim.Answer
	want   error
	retry  time.Duration
}{
	{apnssim.Answer{Status: 410, Reason: "Unregistered", Timestamp: time.Unix(1700000000, 0)}, edition.ErrGone, 0},
	{apnssim.Answer{Status: 410, Reason: "ExpiredToken"}, edition.ErrGone, 0},
	{apnssim.Answer{Status: 410, Reason: "SomethingNew"}, edition.ErrGone, 0},
	{apnssim.Answer{Status: 400, Reason: "BadDeviceToken"}, edition.ErrGone, 0},
	{apnssim.Answer{Status: 400, Reason: "DeviceTokenNotForTopic"}, edition.ErrGone, 0},
	{apnssim.Answer{Status: 400, Reason: "TopicDisallowed"}, edition.ErrForbidden, 0},
	{apnssim.Answer{Status: 400, Reason: "BadCollapseId"}, edition.ErrForbidden, 0},
	{apnssim.Answer{Status: 400, Reason: "SomethingNew"}, edition.ErrForbidden, 0},
	{apnssim.Answer{Status: 400, Reason: "IdleTimeout"}, edition.ErrUnavailable, 0},
	{apnssim.Answer{Status: 400}, kicktest.AnError, 0},
	{apnssim.Answer{Status: 403, Reason: "InvalidProviderToken"}, edition.ErrUnavailable, 0},
	{apnssim.Answer{Status: 403, Reason: "BadCertificateEnvironment"}, edition.ErrUnavailable, 0},
	{apnssim.Answer{Status: 404, Reason: "BadPath"}, kicktest.AnError, 0},
	{apnssim.Answer{Status: 413, Reason: "PayloadTooLarge"}, edition.ErrForbidden, 0},
	{apnssim.Answer{Status: 429, Reason: "TooManyRequests"}, edition.ErrTooMany, 0},
	{apnssim.Answer{Status: 429, Reason: "TooManyRequests", RetryAfter: 90 * time.Second}, edition.ErrTooMany, 90 * time.Second},
	{apnssim.Answer{Status: 429, Reason: "TooManyProviderTokenUpdates"}, edition.ErrUnavailable, 0},
	{apnssim.Answer{Status: 500, Reason: "InternalServerError"}, edition.ErrUnavailable, 0},
	{apnssim.Answer{Status: 503, Reason: "ServiceUnavailable", RetryAfter: time.Minute}, edition.ErrUnavailable, time.Minute},
	{apnssim.Answer{Status: 503, Reason: "Shutdown"}, edition.ErrUnavailable, 0},
	{apnssim.Answer{Status: 302}, kicktest.AnError, 0},
	{apnssim.Answer{Hang: true}, nil, 0}, // the last: not an outcome
}

func answerOf(k apnssim.Kick) apnssim.Answer {
	for n := range answers {
		if k.Token == odd(n) {
			return answers[n].answer
		}
	}
	return apnssim.Answer{}
}

func subject(t *testing.T, change func(*peer, *apns.Config)) kicktest.Subject {
	p := start(t, apnssim.Options{Answer: answerOf})
	c := p.config()
	change(p, &c)
	d, err := apns.New(c, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s := kicktest.Subject{
		Driver: d,
		Good:   func(i int) json.RawMessage { return targetOf(device(i)) },
		Alike: []json.RawMessage{
			targetOf(strings.ToUpper(device(0))),
			fmt.Appendf(nil, `{"token":%q,"topic":%q}`, device(0), topic),
		},
		Malformed: []json.RawMessage{
			[]byte(`{"topic":"` + topic + `"}`),
			targetOf(device(0)[2:]),
			targetOf(device(0) + "0"),
			targetOf(strings.Repeat("a", 202)),
			targetOf(device(0)[2:] + "/."),
			[]byte(`{"token":7}`),
		},
		Forbidden: []json.RawMessage{
			fmt.Appendf(nil, `{"token":%q,"topic":"com.example.other"}`, device(0)),
			fmt.Appendf(nil, `{"token":%q,"topic":%q}`, device(0), topic+"\r\nx: y"),
		},
		Arrived: func() int { return len(p.all()) },
		Sent:    p.text,
		Secrets: []string{"eyJ"}, // as every JSON Web Token begins
		Stuck:   targetOf(odd(len(answers) - 1)),
	}
	for n, a := range answers[:len(answers)-1] {
		s.Outcomes = append(s.Outcomes, kicktest.Outcome{
			Name:   fmt.Sprintf("%d %s", a.answer.Status, a.answer.Reason),
			Target: targetOf(odd(n)), Want: a.want, Retry: a.retry,
		})
	}
	return s
}

func TestSuite(t *testing.T) {
	t.Run("token", func(t *testing.T) {
		kicktest.Run(t, func(t *testing.T) kicktest.Subject { return subject(t, func(*peer, *apns.Config) {}) })
	})
	t.Run("certificate, alert, one connection", func(t *testing.T) {
		kicktest.Run(t, func(t *testing.T) kicktest.Subject {
			return subject(t, func(p *peer, c *apns.Config) {
				byCertificate(p, c)
				c.Push, c.Alert = "alert", apns.Alert{Title: "News"}
				c.Connections, c.ParallelRequests = 1, 16
			})
		})
	})
}

// byCertificate has a configuration prove itself by certificate.
func byCertificate(p *peer, c *apns.Config) {
	c.TokenKey, c.KeyID, c.TeamID = driver.Secret{}, "", ""
	c.TLS.CertFile, c.TLS.KeyFile = p.file(simtls.CertFile), p.file(simtls.KeyFile)
}

// TestWhatIsSent reads a push where it arrives.
func TestWhatIsSent(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*apns.Config)
		confirm string
		want    apnssim.Kick
		body    string
		expires time.Duration
	}{
		{
			"background", func(*apns.Config) {}, "",
			apnssim.Kick{PushType: "background", Priority: 5, CollapseID: "edition"},
			`{"aps":{"content-available":1}}`, 24 * time.Hour,
		},
		{
			"with a code", func(*apns.Config) {}, "K7TQ2MXB",
			apnssim.Kick{PushType: "background", Priority: 5, CollapseID: "edition"},
			`{"aps":{"content-available":1},"confirm":"K7TQ2MXB"}`, 24 * time.Hour,
		},
		{
			"alert", func(c *apns.Config) {
				c.Push, c.Alert, c.CollapseID, c.Expiration = "alert", apns.Alert{Title: "News", Body: "Open <us>"}, "", 0
			}, "",
			apnssim.Kick{PushType: "alert", Priority: 10},
			`{"aps":{"alert":{"body":"Open \u003cus\u003e","title":"News"},"content-available":1}}`, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, apnssim.Options{})
			conf := p.config()
			c.change(&conf)
			d := open(t, conf)
			target, err := d.Check(targetOf(strings.ToUpper(device(0xabc))), from, 500)
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now()
			errs := make([]error, 1)
			d.Kick(t.Context(), []driver.Kick{{Target: target, Confirm: c.confirm}}, errs)
			if errs[0] != nil || len(p.all()) != 1 {
				t.Fatalf("%d arrived, %v", len(p.all()), errs[0])
			}
			got := p.all()[0]
			if string(got.Body) != c.body {
				t.Errorf("body %s, want %s", got.Body, c.body)
			}
			if got.Token != device(0xabc) || got.Topic != topic || got.PushType != c.want.PushType || got.Priority != c.want.Priority || got.CollapseID != c.want.CollapseID {
				t.Errorf("sent %+v, want %+v", got, c.want)
			}
			early, late := before.Add(c.expires-time.Second), time.Now().Add(c.expires+time.Second)
			if c.expires == 0 && !got.Expiration.IsZero() || c.expires != 0 && (got.Expiration.Before(early) || got.Expiration.After(late)) {
				t.Errorf("expires at %v, %v from now wanted", got.Expiration, c.expires)
			}
		})
	}
}

// TestShow compares what Show tells with what arrives.
func TestShow(t *testing.T) {
	p := start(t, apnssim.Options{})
	d := open(t, p.config())
	target, err := d.Check(targetOf(device(1)), from, 500)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Show(driver.Kick{Target: target, Confirm: "K7TQ2MXB"})
	want := "POST " + p.URL() + "/3/device/" + device(1) + ` HTTP/2
apns-collapse-id: edition
apns-expiration: <now + 24h0m0s>
apns-priority: 5
apns-push-type: background
apns-topic: com.example.app
authorization: bearer <secret>
content-type: application/json
user-agent: edition

{"aps":{"content-available":1},"confirm":"K7TQ2MXB"}
`
	if err != nil || got != want {
		t.Errorf("Show = %s, %v; want %s", got, err, want)
	}
}

// TestRemovedTopic refuses what was allowed when the device registered.
func TestRemovedTopic(t *testing.T) {
	p := start(t, apnssim.Options{Topics: []string{topic, "com.example.two"}})
	c := p.config()
	c.Topics = []string{topic, "com.example.two"}
	d := open(t, c)
	target, err := d.Check(fmt.Appendf(nil, `{"token":%q,"topic":"com.example.two"}`, device(1)), from, 500)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 1)
	if d.Kick(t.Context(), []driver.Kick{{Target: target}}, errs); errs[0] != nil || p.all()[0].Topic != "com.example.two" {
		t.Fatalf("sent %+v, %v", p.all(), errs[0])
	}
	less := open(t, p.config())
	if less.Kick(t.Context(), []driver.Kick{{Target: target}}, errs); !isOnly(errs[0], edition.ErrForbidden) || len(p.all()) != 1 {
		t.Errorf("after the topic was removed: %v, %d arrived", errs[0], len(p.all()))
	}
}

// TestErrorsKeepTokens looks for device tokens in errors.
func TestErrorsKeepTokens(t *testing.T) {
	p := start(t, apnssim.Options{Answer: answerOf})
	d := open(t, p.config())
	var tokens []string
	for n := range answers[:len(answers)-1] {
		tokens = append(tokens, odd(n))
	}
	errs := kick(t, d, tokens...)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	errs = append(errs, kick(t, d, device(1))...)
	_, err := d.Check(targetOf(odd(1)[2:]+"xx"), from, 500)
	for _, err := range append(errs, err) {
		if err == nil || strings.Contains(err.Error(), odd(1)[40:60]) || strings.Contains(err.Error(), "/3/device") {
			t.Errorf("an error tells a token: %v", err)
		}
	}
}

// TestNobodyThere is the provider's fault.
func TestNobodyThere(t *testing.T) {
	p := start(t, apnssim.Options{})
	d := open(t, p.config())
	if err := p.Close(); err != nil && err != http.ErrServerClosed { //nolint:errorlint // as it is
		t.Fatal(err)
	}
	for _, err := range kick(t, d, device(1), device(2)) {
		if !isOnly(err, edition.ErrUnavailable) {
			t.Errorf("nobody listens: %v", err)
		}
	}
}
