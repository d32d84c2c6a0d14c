package sms_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/sms"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
	"github.com/edition-push/edition/kickdrivers/sms/smppsim"
)

func TestMain(m *testing.M) { leak.Main(m) }

const (
	wait    = 30 * time.Second // for what must happen, on the slowest machine
	timeout = 2 * time.Minute  // no answer takes so long
)

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wait); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// secret writes one into a file.
func secret(t *testing.T, text string) driver.Secret {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return driver.Secret{File: name}
}

// phones are what a network of phones would show.
type phones struct {
	mu   sync.Mutex
	got  []smppsim.Kick
	text strings.Builder
}

func (p *phones) take(k smppsim.Kick) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, k)
	fmt.Fprintf(&p.text, "%s %s %s\n", k.To, k.Text, k.Data)
}

func (p *phones) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

func (p *phones) last() smppsim.Kick {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got[len(p.got)-1]
}

func (p *phones) sent() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// smsc starts a simulator and returns a configuration that reaches it.
func smsc(t *testing.T, o smppsim.Options) (*smppsim.Server, *phones, sms.Config) {
	t.Helper()
	p := &phones{}
	if o.OnKick == nil {
		o.OnKick = p.take
	}
	s, err := smppsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := sms.DefaultConfig()
	c.Prefixes = []string{"+34"}
	c.SMPP.Addresses = []string{s.URL()}
	c.SMPP.SystemID = s.SystemID()
	c.Timeout, c.SMPP.BindTimeout = timeout, timeout
	c.SMPP.Password = secret(t, "secret")
	return s, p, c
}

func open(t *testing.T, c sms.Config, env driver.Env) *sms.Driver {
	t.Helper()
	d, err := sms.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func number(i int) json.RawMessage { return fmt.Appendf(nil, `{"msisdn":"+346001%05d"}`, i) }

func target(n string) json.RawMessage { return fmt.Appendf(nil, `{"msisdn":%q}`, n) }

// kick checks and kicks numbers in one batch.
func kick(t *testing.T, d *sms.Driver, code string, raw ...json.RawMessage) []error {
	t.Helper()
	kicks, errs := make([]driver.Kick, len(raw)), make([]error, len(raw))
	for i, r := range raw {
		stored, err := d.Check(r, netip.Addr{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		kicks[i] = driver.Kick{Target: stored, Confirm: code}
	}
	d.Kick(t.Context(), kicks, errs)
	return errs
}

// malformed and forbidden are what no configuration, and what the test's
// configuration, does not accept.
var (
	malformed = []json.RawMessage{
		target("600777222"), target("0034600777222"), target("+"), target("+0034600"), target("+346001"),
		target("+3460077722233344"), target("+34 600 111 22a"), target("+34600777222;+34803111222"),
		target("+34600777222,34803111222"), target("+34600777222\x00"), target("+34٦٠٠111222"), target("tel:+34600777222"),
		target("+34" + strings.Repeat(" ", 50) + "600777222"), []byte(`{"msisdn":34600777222}`), []byte(`{"msisdn":["+34600777222"]}`),
	}
	forbidden = []json.RawMessage{target("+33600777222"), target("+3 5 600777222"), target("+34803111222"), target("+34 8-0.3(111)222")}
)

func TestSuiteSMPP(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		answers := map[string]smpp.Status{
			"+34600200001": smpp.InvDest, "+34600200002": smpp.InvMsgLen, "+34600200003": smpp.MsgQueueFull,
			"+34600200004": smpp.SysErr, "+34600200005": smpp.SubmitFail, "+34600200006": smpp.RejectAppError,
			"+34600200007": smpp.TempAppError, "+34600200008": 0x400,
		}
		_, p, c := smsc(t, smppsim.Options{Answer: func(k smppsim.Kick) smppsim.Answer {
			return smppsim.Answer{Status: answers[k.To], Never: k.To == "+34600300000", State: smpp.StateDelivered}
		}})
		c.Deny = []string{"+34803"}
		c.RetryAfter = 7 * time.Second
		return kicktest.Subject{
			Driver: open(t, c, driver.Env{}), Good: number, Malformed: malformed, Forbidden: forbidden,
			Alike:   []json.RawMessage{target("+34 600 100 000"), target("+34-6001-00000"), target("+34(600)100.000")},
			Arrived: p.count, Sent: p.sent, Secrets: []string{"secret"}, Stuck: target("+34600300000"),
			Outcomes: []kicktest.Outcome{
				{Name: "invalid destination", Target: target("+34600200001"), Want: edition.ErrGone},
				{Name: "invalid length", Target: target("+34600200002"), Want: edition.ErrForbidden},
				{Name: "queue full", Target: target("+34600200003"), Want: edition.ErrTooMany, Retry: 7 * time.Second},
				{Name: "system error", Target: target("+34600200004"), Want: kicktest.AnError},
				{Name: "submit failed", Target: target("+34600200005"), Want: kicktest.AnError},
				{Name: "rejected", Target: target("+34600200006"), Want: edition.ErrForbidden},
				{Name: "temporary", Target: target("+34600200007"), Want: kicktest.AnError},
				{Name: "a status of the provider's own", Target: target("+34600200008"), Want: kicktest.AnError},
				{Name: "accepted", Target: target("+34600200009")},
			},
		}
	})
}

// TestForms sends each kind of message and reads it as the phone would.
func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sms.Config)
		code   string
		want   smppsim.Kick
	}{
		"text":              {func(*sms.Config) {}, "", smppsim.Kick{Form: "text", Text: "Wake up"}},
		"code at the end":   {func(*sms.Config) {}, "AB12CD34", smppsim.Kick{Form: "text", Text: "Wake up AB12CD34"}},
		"code in its place": {func(c *sms.Config) { c.Text = "[{{.Confirm}}] €" }, "AB12CD34", smppsim.Kick{Form: "text", Text: "[AB12CD34] €"}},
		"no code":           {func(c *sms.Config) { c.Text = "wake {{.Confirm}}" }, "", smppsim.Kick{Form: "text", Text: "wake"}},
		"UCS-2 by itself":   {func(c *sms.Config) { c.Text = "起きて" }, "", smppsim.Kick{Form: "text", Text: "起きて"}},
		"UCS-2":             {func(c *sms.Config) { c.Alphabet = "ucs2" }, "X", smppsim.Kick{Form: "text", Text: "Wake up X"}},
		"Latin 1":           {func(c *sms.Config) { c.Alphabet, c.Text = "latin1", "réveil ç" }, "", smppsim.Kick{Form: "text", Text: "réveil ç"}},
		"binary": {
			func(c *sms.Config) { c.Form, c.Port, c.Text = "binary", 4000, "W" },
			"AB12CD34",
			smppsim.Kick{Form: "binary", Port: 4000, Data: []byte("W AB12CD34")},
		},
		"hex": {
			func(c *sms.Config) { c.Form, c.Port, c.Hex = "binary", 65535, "00ff10" },
			"",
			smppsim.Kick{Form: "binary", Port: 65535, Data: []byte{0, 255, 16}},
		},
		"hex with a code": {
			func(c *sms.Config) { c.Form, c.Port, c.Hex = "binary", 1, "00" },
			"AB12CD34",
			smppsim.Kick{Form: "binary", Port: 1, Data: []byte("\x00 AB12CD34")},
		},
		"service indication": {
			func(c *sms.Config) { c.Form, c.Href = "si", "https://www.example.org/w?c={{.Confirm}}" },
			"AB12CD34",
			smppsim.Kick{Form: "si", Port: 2948, Text: "Wake up AB12CD34", Href: "https://www.example.org/w?c=AB12CD34"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, p, conf := smsc(t, smppsim.Options{})
			c.change(&conf)
			d := open(t, conf, driver.Env{})
			if err := kick(t, d, c.code, target("+34600111222"))[0]; err != nil {
				t.Fatal(err)
			}
			got := p.last()
			if got.To != "+34600111222" || got.Form != c.want.Form || got.Text != c.want.Text || got.Href != c.want.Href || got.Port != c.want.Port ||
				got.Form == "binary" && !bytes.Equal(got.Data, c.want.Data) {
				t.Errorf("the phone got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestFields has what the configuration says about a message arrive.
func TestFields(t *testing.T) {
	for from, want := range map[string]smpp.Address{
		"":             {},
		"+34600000001": {TON: smpp.TONInternational, NPI: smpp.NPIISDN, Addr: "34600000001"},
		"27000":        {TON: smpp.TONShort, Addr: "27000"},
		"600000001":    {TON: smpp.TONUnknown, NPI: smpp.NPIISDN, Addr: "600000001"},
		"Edition Ltd":  {TON: smpp.TONAlphanumeric, Addr: "Edition Ltd"},
	} {
		_, p, c := smsc(t, smppsim.Options{})
		c.From, c.Validity, c.ProtocolID, c.Priority = from, 25*time.Hour+61*time.Second, 65, 2
		c.SMPP.ServiceType, c.SMPP.Replace, c.SMPP.Receipts = "WAKE", true, from == ""
		d := open(t, c, driver.Env{})
		if err := kick(t, d, "", number(0))[0]; err != nil {
			t.Fatal(err)
		}
		m := p.last().Message
		registered := byte(0)
		if from == "" {
			registered = smpp.WantReceipt
		}
		if m.Source != want || m.Validity != "000001010101000R" || m.ProtocolID != 65 || m.Priority != 2 || m.Replace != 1 ||
			m.ServiceType != "WAKE" || m.Registered != registered {
			t.Errorf("from %q: %+v", from, m)
		}
		d.Close()
	}
}

// TestReceipts counts what an SMSC tells later.
func TestReceipts(t *testing.T) {
	states := []string{smpp.StateDelivered, smpp.StateExpired, smpp.StateUndeliverable, smpp.StateRejected, smpp.StateDeleted}
	_, _, c := smsc(t, smppsim.Options{Answer: func(k smppsim.Kick) smppsim.Answer {
		return smppsim.Answer{State: states[int(k.To[len(k.To)-1]-'0')%len(states)], Later: time.Millisecond}
	}})
	var mu sync.Mutex
	counts := make(map[string]int)
	d := open(t, c, driver.Env{Receipt: func(state string) {
		mu.Lock()
		defer mu.Unlock()
		counts[state]++
	}})
	var all []json.RawMessage
	for i := range 20 {
		all = append(all, number(i))
	}
	for _, err := range kick(t, d, "", all...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	until(t, "20 receipts", func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, state := range states {
			n += counts[state]
		}
		return n == 20
	})
	mu.Lock()
	defer mu.Unlock()
	for _, state := range states {
		if counts[state] != 4 {
			t.Errorf("%s is counted %d times, want 4", state, counts[state])
		}
	}
}

// TestNobodyIsNamed: neither a log nor an error has a number or a password in it.
func TestNobodyIsNamed(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, _, c := smsc(t, smppsim.Options{Answer: func(k smppsim.Kick) smppsim.Answer {
		return smppsim.Answer{Status: map[string]smpp.Status{"+34600100001": smpp.InvDest, "+34600100002": smpp.Throttled}[k.To]}
	}})
	d := open(t, c, driver.Env{Log: log})
	var errs []error
	for i := range 3 {
		errs = append(errs, kick(t, d, "", number(i))...)
	}
	for _, raw := range append(malformed, target("+33600100003")) {
		_, err := d.Check(raw, netip.Addr{}, 100)
		errs = append(errs, err)
	}
	server.Close()
	errs = append(errs, kick(t, d, "", number(4))...)
	d.Close()
	mu.Lock()
	defer mu.Unlock()
	text := out.String() + fmt.Sprint(errs)
	if !strings.Contains(text, "smsc bound") || !strings.Contains(text, "ESME_RINVDSTADR") {
		t.Errorf("nothing was logged: %s", text)
	}
	for _, private := range []string{"60010000", "60077722", "secret"} {
		if strings.Contains(text, private) {
			t.Errorf("%q is in what is told:\n%s", private, text)
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// TestStored: a configuration that has become narrower holds for what is
// stored already.
func TestStored(t *testing.T) {
	_, p, c := smsc(t, smppsim.Options{})
	c.Deny = []string{"+34806"}
	d := open(t, c, driver.Env{})
	errs := make([]error, 2)
	d.Kick(t.Context(), []driver.Kick{{Target: target("+34806111222")}, {Target: target("+33600111222")}}, errs)
	for i, err := range errs {
		if !errors.Is(err, edition.ErrForbidden) {
			t.Errorf("kick %d: %v", i, err)
		}
	}
	if p.count() != 0 {
		t.Error("a number that is not allowed got a message")
	}
	if _, err := d.Show(driver.Kick{Target: target("+34806111222")}); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("Show: %v", err)
	}
}
