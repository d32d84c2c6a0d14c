package fcm_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/fcm"
	"github.com/edition-push/edition/kickdrivers/fcm/fcmsim"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

func TestMain(m *testing.M) { leak.Main(m) }

// wait bounds what must happen, on the slowest machine.
const wait = 2 * time.Minute

var from = netip.MustParseAddr("192.0.2.1")

// accountKey is made once, since that takes long.
var accountKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func device(i int) string { return fmt.Sprintf("d%d:APA91b-%0130d", i, i) }

// odd is the token of a device that the simulator answers in its n-th way.
func odd(n int) string { return fmt.Sprintf("odd%d:APA91b-%0130d", n, n) }

func targetOf(token string) json.RawMessage { return fmt.Appendf(nil, `{"token":%q}`, token) }

// peer is a simulator with its files in a folder. It keeps what has arrived.
type peer struct {
	*fcmsim.Server
	dir string

	mu    sync.Mutex
	kicks []fcmsim.Kick
}

func (p *peer) add(k fcmsim.Kick) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kicks = append(p.kicks, k)
}

func (p *peer) all() []fcmsim.Kick {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]fcmsim.Kick(nil), p.kicks...)
}

func (p *peer) text() string {
	var s strings.Builder
	for _, k := range p.all() {
		s.Write(k.Body)
	}
	return s.String()
}

func start(t *testing.T, o fcmsim.Options) *peer {
	t.Helper()
	p := &peer{dir: t.TempDir()}
	o.OnKick, o.Key = p.add, accountKey()
	var err error
	if p.Server, err = fcmsim.Start(o); err != nil {
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

func (p *peer) config() fcm.Config {
	c := fcm.DefaultConfig()
	c.Host = p.URL()
	c.ServiceAccount = driver.Secret{File: filepath.Join(p.dir, fcmsim.AccountFile)}
	c.TLS = outbound.TLS{CAFile: filepath.Join(p.dir, simtls.CAFile)}
	c.Timeout = wait
	return c
}

func open(t *testing.T, c fcm.Config) *fcm.Driver {
	t.Helper()
	d, err := fcm.New(c, driver.Env{})
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
func kick(ctx context.Context, t *testing.T, d *fcm.Driver, tokens ...string) []error {
	t.Helper()
	kicks, errs := make([]driver.Kick, len(tokens)), make([]error, len(tokens))
	for i, token := range tokens {
		target, err := d.Check(targetOf(token), from, 500)
		if err != nil {
			t.Fatal(err)
		}
		kicks[i].Target = target
	}
	d.Kick(ctx, kicks, errs)
	return errs
}

func devices(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = device(i)
	}
	return all
}

// isOnly reports whether err is of one kind and of no other that says
// something to the dispatcher.
func isOnly(err, want error) bool {
	for _, kind := range []error{edition.ErrGone, edition.ErrForbidden, edition.ErrTooMany, edition.ErrUnavailable} {
		if errors.Is(err, kind) != errors.Is(want, kind) {
			return false
		}
	}
	return err != nil
}

// answers are Google's, and what the driver makes of them.
var answers = []struct {
	answer fcmsim.Answer
	want   error
	retry  time.Duration
}{
	{fcmsim.Answer{Status: 404, Code: "UNREGISTERED"}, edition.ErrGone, 0},
	{fcmsim.Answer{Status: 404}, kicktest.AnError, 0}, // perhaps the project
	{fcmsim.Answer{Status: 403, Code: "SENDER_ID_MISMATCH"}, edition.ErrGone, 0},
	{fcmsim.Answer{Status: 403}, edition.ErrUnavailable, 0},
	{fcmsim.Answer{Status: 400, Code: "INVALID_ARGUMENT"}, edition.ErrGone, 0},
	{fcmsim.Answer{Status: 400, Code: "INVALID_ARGUMENT", Field: "message.token"}, edition.ErrGone, 0},
	{fcmsim.Answer{Status: 400, Code: "INVALID_ARGUMENT", Field: "message.android.ttl"}, edition.ErrForbidden, 0},
	{fcmsim.Answer{Status: 400}, edition.ErrForbidden, 0},
	{fcmsim.Answer{Status: 401, Code: "THIRD_PARTY_AUTH_ERROR"}, edition.ErrForbidden, 0},
	{fcmsim.Answer{Status: 401}, edition.ErrUnavailable, 0},
	{fcmsim.Answer{Status: 429, Code: "QUOTA_EXCEEDED"}, edition.ErrTooMany, time.Minute},
	{fcmsim.Answer{Status: 429, Code: "QUOTA_EXCEEDED", RetryAfter: 90 * time.Second}, edition.ErrTooMany, 90 * time.Second},
	{fcmsim.Answer{Status: 500, Code: "INTERNAL"}, edition.ErrUnavailable, 0},
	{fcmsim.Answer{Status: 502}, edition.ErrUnavailable, 0},
	{fcmsim.Answer{Status: 503, Code: "UNAVAILABLE", RetryAfter: 2 * time.Minute}, edition.ErrUnavailable, 2 * time.Minute},
	{fcmsim.Answer{Status: 307}, kicktest.AnError, 0},
	{fcmsim.Answer{Hang: true}, nil, 0}, // the last: not an outcome
}

func answerOf(k fcmsim.Kick) fcmsim.Answer {
	for n := range answers {
		if k.Token == odd(n) {
			return answers[n].answer
		}
	}
	return fcmsim.Answer{}
}

func TestSuite(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		p := start(t, fcmsim.Options{Answer: answerOf})
		d, err := fcm.New(p.config(), driver.Env{})
		if err != nil {
			t.Fatal(err)
		}
		s := kicktest.Subject{
			Driver: d,
			Good:   func(i int) json.RawMessage { return targetOf(device(i)) },
			Malformed: []json.RawMessage{
				[]byte(`{"token":7}`),
				targetOf("short"),
				targetOf(device(0) + "/../x"),
				targetOf(strings.Repeat("a", 1025)),
			},
			Arrived: func() int { return len(p.all()) },
			Sent:    p.text,
			Secrets: []string{"ya29", "eyJ", "PRIVATE"},
			Stuck:   targetOf(odd(len(answers) - 1)),
		}
		for n, a := range answers[:len(answers)-1] {
			s.Outcomes = append(s.Outcomes, kicktest.Outcome{
				Name:   fmt.Sprintf("%d %s %s", a.answer.Status, a.answer.Code, a.answer.Field),
				Target: targetOf(odd(n)), Want: a.want, Retry: a.retry,
			})
		}
		return s
	})
}

// TestWhatIsSent reads a message where it arrives.
func TestWhatIsSent(t *testing.T) {
	p := start(t, fcmsim.Options{})
	d := open(t, p.config())
	target, err := d.Check(targetOf(device(7)), from, 500)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 2)
	d.Kick(t.Context(), []driver.Kick{{Target: target}}, errs[:1])
	d.Kick(t.Context(), []driver.Kick{{Target: target, Confirm: "K7TQ2MXB"}}, errs[1:])
	if err := errors.Join(errs...); err != nil || len(p.all()) != 2 {
		t.Fatalf("%d arrived, %v", len(p.all()), err)
	}
	for i, data := range []string{`{"edition":"kick"}`, `{"confirm":"K7TQ2MXB","edition":"kick"}`} {
		want := `{"message":{"token":"` + device(7) + `","data":` + data + `,"android":{"priority":"HIGH","ttl":"86400s","collapse_key":"edition"}}}`
		if got := string(p.all()[i].Body); got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
	shown, err := d.Show(driver.Kick{Target: target})
	want := "POST " + p.URL() + "/v1/projects/edition-sim/messages:send\nauthorization: Bearer <secret>\ncontent-type: application/json\n\n" + string(p.all()[0].Body) + "\n"
	if err != nil || shown != want {
		t.Errorf("Show = %s, %v; want %s", shown, err, want)
	}
	bare := p.config()
	bare.TTL, bare.CollapseKey = 0, ""
	if err := kick(t.Context(), t, open(t, bare), device(8))[0]; err != nil {
		t.Fatal(err)
	}
	if got := p.all()[2]; got.TTL != 0 || got.CollapseKey != "" || got.Priority != "HIGH" || strings.Contains(string(got.Body), "collapse") {
		t.Errorf("sent %s", got.Body)
	}
}

// TestOneToken has many kicks at once share one access token, and one new one
// when it is refused.
func TestOneToken(t *testing.T) {
	var given atomic.Int32
	p := start(t, fcmsim.Options{TokenAnswer: func() fcmsim.Answer { given.Add(1); return fcmsim.Answer{} }})
	d := open(t, p.config())
	for round := range int32(3) {
		if err := errors.Join(kick(t.Context(), t, d, devices(100)...)...); err != nil {
			t.Fatal(err)
		}
		if given.Load() != round+1 {
			t.Fatalf("%d tokens after %d rounds", given.Load(), round+1)
		}
		p.ExpireTokens()
	}
	if len(p.all()) != 300 {
		t.Errorf("%d messages arrived, want 300", len(p.all()))
	}
}

// TestTokenLife exchanges a token before it ends.
func TestTokenLife(t *testing.T) {
	var given atomic.Int32
	p := start(t, fcmsim.Options{TokenLife: 59 * time.Second, TokenAnswer: func() fcmsim.Answer { given.Add(1); return fcmsim.Answer{} }})
	d := open(t, p.config())
	for range 2 {
		if err := kick(t.Context(), t, d, device(1))[0]; err != nil {
			t.Fatal(err)
		}
	}
	if given.Load() != 2 {
		t.Errorf("%d tokens, want one for each kick when none has a minute left", given.Load())
	}
}

// TestNoToken is the provider's failure, with what it says.
func TestNoToken(t *testing.T) {
	for _, c := range []struct {
		answer fcmsim.Answer
		says   string
		retry  time.Duration
	}{
		{fcmsim.Answer{Status: 400, Code: "invalid_grant"}, "answered 400, invalid_grant", 0},
		{fcmsim.Answer{Status: 401, Code: "<script>"}, "answered 401", 0},
		{fcmsim.Answer{Status: 503, Code: "temporarily_unavailable", RetryAfter: time.Minute}, "answered 503, temporarily_unavailable", time.Minute},
		{fcmsim.Answer{Hang: true}, "no answer in time", 0},
		{fcmsim.Answer{Drop: true}, "", 0},
	} {
		var asked atomic.Bool
		p := start(t, fcmsim.Options{TokenAnswer: func() fcmsim.Answer { asked.Store(true); return c.answer }})
		conf, who := p.config(), devices(5)
		if c.answer.Hang {
			conf.Timeout, who = 100*time.Millisecond, devices(1)
		}
		d := open(t, conf)
		errs := kick(t.Context(), t, d, who...)
		// The time may be over before there is a connection: then again.
		for begun := time.Now(); !asked.Load() && time.Since(begun) < wait; {
			errs = kick(t.Context(), t, d, who...)
		}
		for _, err := range errs {
			if !isOnly(err, edition.ErrUnavailable) || !strings.HasSuffix(err.Error(), c.says) {
				t.Errorf("%+v: %v", c.answer, err)
			}
			if r, ok := errors.AsType[*edition.RetryError](err); c.retry != 0 && (!ok || r.After != c.retry) {
				t.Errorf("%+v: %v does not say to come back after %v", c.answer, err, c.retry)
			}
		}
	}
}

// TestTokenHangs ends a kick with its context, and the request for a token
// with the driver, while the token endpoint says nothing.
func TestTokenHangs(t *testing.T) {
	p := start(t, fcmsim.Options{TokenAnswer: func() fcmsim.Answer { return fcmsim.Answer{Hang: true} }})
	d := open(t, p.config())
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the caller ends")
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	if err := kick(ctx, t, d, device(1))[0]; !errors.Is(err, why) || errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("Kick: %v", err)
	}
}

// TestNoAnswer is the provider's failure.
func TestNoAnswer(t *testing.T) {
	p := start(t, fcmsim.Options{Answer: func(fcmsim.Kick) fcmsim.Answer { return fcmsim.Answer{Hang: true} }})
	c := p.config()
	c.Timeout = 500 * time.Millisecond
	if err := kick(t.Context(), t, open(t, c), device(1))[0]; !isOnly(err, edition.ErrUnavailable) {
		t.Errorf("no answer: %v", err)
	}
}

// TestLostConnection cuts a connection under the requests on it, once: they go
// over another one. What is always lost is told.
func TestLostConnection(t *testing.T) {
	var n atomic.Int32
	p := start(t, fcmsim.Options{Answer: func(fcmsim.Kick) fcmsim.Answer { return fcmsim.Answer{Drop: n.Add(1) == 20} }})
	c := p.config()
	c.ParallelRequests = 10
	if err := errors.Join(kick(t.Context(), t, open(t, c), devices(60)...)...); err != nil {
		t.Error(err)
	}
	always := start(t, fcmsim.Options{Answer: func(fcmsim.Kick) fcmsim.Answer { return fcmsim.Answer{Drop: true} }})
	if err := kick(t.Context(), t, open(t, always.config()), device(1))[0]; !isOnly(err, edition.ErrUnavailable) {
		t.Errorf("always lost: %v", err)
	}
}

// TestErrorsKeepTokens looks for registration tokens in errors.
func TestErrorsKeepTokens(t *testing.T) {
	p := start(t, fcmsim.Options{Answer: answerOf})
	d := open(t, p.config())
	var tokens []string
	for n := range answers[:len(answers)-1] {
		tokens = append(tokens, odd(n))
	}
	errs := kick(t.Context(), t, d, tokens...)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	errs = append(errs, kick(t.Context(), t, d, device(1))...)
	_, err := d.Check(targetOf(device(1)+"?"), from, 500)
	for _, err := range append(errs, err) {
		if err == nil || strings.Contains(err.Error(), "APA91b") || strings.Contains(err.Error(), "ya29") {
			t.Errorf("an error tells a token: %v", err)
		}
	}
}
