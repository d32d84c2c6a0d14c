package wakeup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/simtls"
	"github.com/edition-push/edition/kickdrivers/wakeup"
	"github.com/edition-push/edition/kickdrivers/wakeup/wakeupsim"
)

func TestMain(m *testing.M) { leak.Main(m) }

// wait bounds what must happen, on the slowest machine.
const wait = 30 * time.Second

// inbox keeps what a platform has accepted.
type inbox struct {
	mu   sync.Mutex
	list []wakeupsim.Kick // Guarded by mu.
}

func (b *inbox) add(k wakeupsim.Kick) {
	b.mu.Lock()
	b.list = append(b.list, k)
	b.mu.Unlock()
}

func (b *inbox) all() []wakeupsim.Kick {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

var (
	carrier = wakeupsim.Network{NetID: "214-07.default", Codes: "214-07", Range: []string{"10.0.0.0/8"}}
	lab     = wakeupsim.Network{NetID: "lab-1", Codes: "001-01", Range: []string{"192.168.0.0/16", "fd00::/8"}, Protocols: []string{"udp"}}
	dark    = wakeupsim.Network{NetID: "dark", Codes: "002-02", Range: []string{"10.0.0.0/8"}, Offline: true}
)

func start(t *testing.T, o wakeupsim.Options) *wakeupsim.Server {
	t.Helper()
	if o.Networks == nil {
		o.Networks = []wakeupsim.Network{carrier, lab, dark}
	}
	s, err := wakeupsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the platform: %v", err)
		}
	})
	return s
}

func config(s *wakeupsim.Server) wakeup.Config {
	c := wakeup.DefaultConfig()
	c.URL, c.Timeout, c.Interval = s.URL(), wait, 100*time.Millisecond
	return c
}

func open(t *testing.T, c wakeup.Config, env driver.Env) *wakeup.Driver {
	t.Helper()
	d, err := wakeup.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func shut(t *testing.T, d *wakeup.Driver) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func check(d *wakeup.Driver, target string) (json.RawMessage, error) {
	return d.Check([]byte(target), netip.Addr{}, 100)
}

func kickOne(ctx context.Context, d *wakeup.Driver, target, confirm string) error {
	errs := make([]error, 1)
	d.Kick(ctx, []driver.Kick{{Target: []byte(target), Confirm: confirm}}, errs)
	return errs[0]
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wait); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// answers are those that the port of a test asks for.
var answers = map[int]wakeupsim.Answer{
	6001: {Status: 400, Text: "Client IP (10.0.0.1) is out of the mobile network range"},
	6002: {Status: 400, Text: "Client certificate not accepted"},
	6003: {Status: 404, Text: "No network found"},
	6004: {Status: 404, Text: "Not found"},
	6005: {Status: 503, Text: "Error, network 214-07.default is offline now"},
	6006: {Status: 503, Text: "Network 214-07.default is busy", RetryAfter: 2},
	6007: {Status: 503, Text: "Shutting down", RetryAfter: 7},
	6008: {Status: 503},
	6009: {Status: 429, RetryAfter: 3},
	6010: {Status: 500},
	6011: {Status: 302, Text: "elsewhere"},
	6012: {Status: 403},
	6013: {Status: 405},
	6014: {Status: 418},
	6015: {Status: 204},
	6016: {Status: 503, Text: "Network 214-07 is offline", RetryAfter: 180},
	6017: {Status: 401},
}

func outcomes() (list []kicktest.Outcome) {
	for port, want := range map[int]error{
		6001: edition.ErrForbidden, 6002: edition.ErrUnavailable, 6003: edition.ErrForbidden, 6004: edition.ErrUnavailable,
		6005: kicktest.AnError, 6006: edition.ErrTooMany, 6007: edition.ErrUnavailable, 6008: edition.ErrUnavailable,
		6009: edition.ErrTooMany, 6010: edition.ErrUnavailable, 6011: edition.ErrUnavailable, 6012: edition.ErrUnavailable,
		6013: edition.ErrUnavailable, 6014: kicktest.AnError, 6015: nil, 6016: kicktest.AnError, 6017: edition.ErrUnavailable,
	} {
		o := kicktest.Outcome{
			Name:   fmt.Sprint(answers[port]),
			Target: fmt.Appendf(nil, `{"ip":"10.0.0.7","port":%d,"mcc":"214","mnc":"07"}`, port),
			Want:   want,
		}
		if want != nil && !errors.Is(want, kicktest.AnError) {
			o.Retry = time.Duration(answers[port].RetryAfter) * time.Second
		}
		list = append(list, o)
	}
	return append(list, kicktest.Outcome{
		Name: "a network that is offline", Target: []byte(`{"ip":"10.0.0.7","port":4000,"netid":"dark"}`), Want: kicktest.AnError,
	})
}

func TestSuite(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		var got inbox
		stuck := make(chan struct{})
		s := start(t, wakeupsim.Options{OnKick: got.add, Answer: func(k wakeupsim.Kick) wakeupsim.Answer {
			if k.Port == 6666 {
				<-stuck
			}
			return answers[k.Port]
		}})
		t.Cleanup(func() { close(stuck) })
		return kicktest.Subject{
			Driver: open(t, config(s), driver.Env{}),
			Good: func(i int) json.RawMessage {
				return fmt.Appendf(nil, `{"ip":"10.0.%d.%d","port":4000,"netid":"214-07.default"}`, 1+i/200, 1+i%200)
			},
			Alike: []json.RawMessage{
				[]byte(`{"ip":"10.0.1.1","port":4000,"mcc":"214","mnc":"07"}`),
				[]byte(`{"ip":"10.0.1.1","port":4000,"mcc":"214","mnc":"07","netid":"default"}`),
				[]byte(`{"ip":"::ffff:10.0.1.1","port":4000,"netid":"214-07.default","proto":"tcp"}`),
			},
			Malformed: []json.RawMessage{
				[]byte(`{"port":4000,"netid":"lab-1"}`), []byte(`{"ip":"10.0.0.1","netid":"lab-1"}`), []byte(`{"ip":"10.0.0.1","port":4000}`),
				[]byte(`{"ip":"host","port":4000,"netid":"lab-1"}`), []byte(`{"ip":"10.0.0.1","port":65536,"netid":"lab-1"}`),
				[]byte(`{"ip":"10.0.0.1","port":-1,"netid":"lab-1"}`), []byte(`{"ip":"10.0.0.1","port":4000,"mcc":"214"}`),
				[]byte(`{"ip":"10.0.0.1","port":4000,"netid":"a&port=1"}`), []byte(`{"ip":"10.0.0.1","port":4000,"netid":"lab-1","proto":"sctp"}`),
				[]byte(`{"ip":"fe80::1%eth0","port":4000,"netid":"lab-1"}`),
			},
			Forbidden: []json.RawMessage{
				[]byte(`{"ip":"10.0.0.1","port":4000,"netid":"lab-2"}`),                  // no such network
				[]byte(`{"ip":"10.0.0.1","port":4000,"mcc":"999","mnc":"99"}`),           // nor these codes
				[]byte(`{"ip":"10.0.0.1","port":4000,"netid":"lab-1"}`),                  // outside its ranges
				[]byte(`{"ip":"10.0.0.1","port":4000,"mcc":"001","mnc":"01"}`),           // as by its codes
				[]byte(`{"ip":"127.0.0.1","port":4000,"mcc":"214","mnc":"07"}`),          //
				[]byte(`{"ip":"10.0.0.0","port":4000,"mcc":"214","mnc":"07"}`),           // the network itself
				[]byte(`{"ip":"10.255.255.255","port":4000,"mcc":"214","mnc":"07"}`),     // broadcast
				[]byte(`{"ip":"10.0.0.1","port":80,"mcc":"214","mnc":"07"}`),             // a port below 1024
				[]byte(`{"ip":"192.168.0.1","port":4000,"netid":"lab-1","proto":"tcp"}`), // which takes udp
			},
			Arrived:  func() int { return len(got.all()) },
			Sent:     func() string { return fmt.Sprintf("%+v", got.all()) },
			Outcomes: outcomes(),
			Stuck:    []byte(`{"ip":"10.0.0.7","port":6666,"netid":"214-07.default"}`),
		}
	})
}

func TestWhatIsSent(t *testing.T) {
	var got inbox
	s := start(t, wakeupsim.Options{OnKick: got.add})
	c := config(s)
	c.RealIP, c.ClientDN = "192.0.2.10", "CN=edition"
	var out lines
	d := open(t, c, driver.Env{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	defer shut(t, d)
	for _, target := range []string{
		`{"ip":"fd00::7","port":4000,"netid":"lab-1"}`,
		`{"ip":"10.1.2.3","port":4001,"mcc":"214","mnc":"07","proto":"tcp"}`,
	} {
		stored, err := check(d, target)
		if err != nil {
			t.Fatal(err)
		}
		if err := kickOne(t.Context(), d, string(stored), "K7TQ2MXB"); err != nil {
			t.Fatal(err)
		}
	}
	all := got.all()
	if len(all) != 2 || all[0].Tracking == "" || all[0].Tracking == all[1].Tracking {
		t.Fatalf("sent %+v", all)
	}
	for i, want := range []wakeupsim.Kick{
		{IP: "fd00::7", Port: 4000, Proto: "udp", NetID: "lab-1"},
		{IP: "10.1.2.3", Port: 4001, Proto: "tcp", NetID: "214-07.default"},
	} {
		want.Confirm, want.Tracking, want.RealIP, want.ForwardedFor = "K7TQ2MXB", all[i].Tracking, "192.0.2.10", "192.0.2.10"
		want.ClientVerified, want.ClientDN = "SUCCESS", "CN=edition"
		if all[i] != want {
			t.Errorf("sent %+v, want %+v", all[i], want)
		}
		if !strings.Contains(out.String(), all[i].Tracking) {
			t.Errorf("the log does not tell the tracking id %s", all[i].Tracking)
		}
	}
	shown, err := d.Show(driver.Kick{Target: []byte(`{"ip":"fd00::7","port":4000,"netid":"lab-1"}`)})
	for _, part := range []string{"POST " + s.URL() + "/wakeup/v1\n", "X-Real-Ip: 192.0.2.10\n", "ip=fd00%3A%3A7&netid=lab-1&port=4000&proto=udp\n"} {
		if err != nil || !strings.Contains(shown, part) {
			t.Errorf("Show says %q, %v; want %q in it", shown, err, part)
		}
	}
}

type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestTLS asks with a client's certificate, and without.
func TestTLS(t *testing.T) {
	s := start(t, wakeupsim.Options{ClientCert: true})
	dir := t.TempDir()
	if err := s.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	const target = `{"ip":"10.1.2.3","port":4000,"mcc":"214","mnc":"07"}`
	c := config(s)
	c.TLS = outbound.TLS{CAFile: filepath.Join(dir, simtls.CAFile)}
	without := open(t, c, driver.Env{})
	defer shut(t, without)
	if err := kickOne(t.Context(), without, target, ""); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("without a certificate: %v", err)
	}
	c.TLS.CertFile, c.TLS.KeyFile = filepath.Join(dir, simtls.CertFile), filepath.Join(dir, simtls.KeyFile)
	d := open(t, c, driver.Env{})
	defer shut(t, d)
	if err := kickOne(t.Context(), d, target, ""); err != nil {
		t.Error(err)
	}
	if s.Taken() != 1 {
		t.Errorf("%d requests were taken", s.Taken())
	}
}

// TestPlatformIsDown asks where nobody listens.
func TestPlatformIsDown(t *testing.T) {
	c := wakeup.DefaultConfig()
	c.URL, c.Timeout = "http://"+kicktest.Nobody(t), wait
	c.Networks = []wakeup.Network{{NetID: "lab-1", CIDRs: []string{"10.0.0.0/8"}}}
	d := open(t, c, driver.Env{})
	defer shut(t, d)
	const target = `{"ip":"10.0.0.1","port":4000,"netid":"lab-1"}`
	if err := kickOne(t.Context(), d, target, ""); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("closing")
	cancel(why)
	if err := kickOne(ctx, d, target, ""); !errors.Is(err, why) {
		t.Errorf("a kick whose context has ended: %v", err)
	}
}

// TestSilentPlatform takes connections and says nothing.
func TestSilentPlatform(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := wakeup.DefaultConfig()
	c.URL, c.Timeout = "http://"+l.Addr().String(), 50*time.Millisecond
	d := open(t, c, driver.Env{})
	if _, err := check(d, `{"ip":"10.0.0.1","port":4000,"netid":"lab-1"}`); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("Check: %v", err)
	}
	shut(t, d)
	c.Timeout = wait
	d = open(t, c, driver.Env{})
	shut(t, d) // while it asks for the networks
}
