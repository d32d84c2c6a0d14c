package mqtt_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
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
	"github.com/edition-push/edition/kickdrivers/mqtt"
	"github.com/edition-push/edition/kickdrivers/mqtt/mqttsim"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

func TestMain(m *testing.M) { leak.Main(m) }

// wait bounds what must happen, on the slowest machine.
const wait = 30 * time.Second

// inbox keeps what a broker has taken.
type inbox struct {
	mu   sync.Mutex
	list []mqttsim.Kick // Guarded by mu.
}

func (b *inbox) add(k mqttsim.Kick) {
	b.mu.Lock()
	b.list = append(b.list, k)
	b.mu.Unlock()
}

func (b *inbox) all() []mqttsim.Kick {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

func (b *inbox) text() string {
	var out strings.Builder
	for _, k := range b.all() {
		fmt.Fprintf(&out, "%s %s\n", k.Topic, k.Payload)
	}
	return out.String()
}

func start(t *testing.T, o mqttsim.Options) *mqttsim.Server {
	t.Helper()
	s, err := mqttsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the broker: %v", err)
		}
	})
	return s
}

func config(s *mqttsim.Server) mqtt.Config {
	c := mqtt.DefaultConfig()
	c.URL, c.Timeout = s.URL(), wait
	return c
}

func open(t *testing.T, c mqtt.Config, env driver.Env) *mqtt.Driver {
	t.Helper()
	d, err := mqtt.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func shut(t *testing.T, d *mqtt.Driver) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func kickOne(ctx context.Context, d *mqtt.Driver, target, confirm string) error {
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

// answers are the reason codes that the topic of a test asks for.
func answers(stuck <-chan struct{}) func(mqttsim.Kick) byte {
	return func(k mqttsim.Kick) byte {
		var code byte
		if _, err := fmt.Sscanf(k.Topic, "edition/kick/code-%x", &code); err == nil {
			return code
		}
		if strings.HasSuffix(k.Topic, "/stuck") {
			<-stuck
		}
		return 0
	}
}

func TestSuite(t *testing.T) {
	for _, qos := range []int{0, 1} {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			kicktest.Run(t, func(t *testing.T) kicktest.Subject {
				var got inbox
				stuck := make(chan struct{})
				s := start(t, mqttsim.Options{OnKick: got.add, Answer: answers(stuck), Username: "edition", Password: "h1dden"})
				t.Cleanup(func() { close(stuck) }) // before the broker is closed
				secret := filepath.Join(t.TempDir(), "password")
				if err := os.WriteFile(secret, []byte("h1dden"), 0o600); err != nil {
					t.Fatal(err)
				}
				c := config(s)
				c.QoS, c.Username, c.Password.File = qos, "edition", secret
				subject := kicktest.Subject{
					Driver: open(t, c, driver.Env{}),
					Good:   func(i int) json.RawMessage { return fmt.Appendf(nil, `{"client":"lamp-%d"}`, i) },
					Alike:  []json.RawMessage{[]byte(`{"client":"lamp-0","site":"x"}`)},
					Malformed: []json.RawMessage{
						[]byte(`{"client":""}`), []byte(`{"client":7}`), []byte(`{"client":null}`), []byte(`{"clients":"a"}`),
						[]byte(`{"client":"a/b"}`), []byte(`{"client":"+"}`), []byte(`{"client":"#"}`), []byte(`{"client":"$SYS"}`),
						[]byte(`{"client":"a\u0000"}`), []byte(`{"client":"a b"}`), []byte(`{"client":"ä"}`), []byte(`{"client":".."}`),
						[]byte(`{"client":"a\n"}`), []byte(`{"client":"` + strings.Repeat("x", 65) + `"}`),
					},
					Arrived: func() int { return len(got.all()) },
					Sent:    got.text,
					Secrets: []string{"h1dden"},
				}
				if qos == 1 {
					code := func(hex string, want error) kicktest.Outcome {
						return kicktest.Outcome{Name: hex, Target: fmt.Appendf(nil, `{"client":"code-%s"}`, hex), Want: want}
					}
					subject.Outcomes = []kicktest.Outcome{
						code("10", nil), code("80", kicktest.AnError), code("83", kicktest.AnError),
						code("87", edition.ErrForbidden), code("90", edition.ErrForbidden), code("91", kicktest.AnError),
						code("97", edition.ErrTooMany), code("99", edition.ErrForbidden),
					}
					subject.Stuck = []byte(`{"client":"stuck"}`)
				}
				return subject
			})
		})
	}
}

func TestWhatIsSent(t *testing.T) {
	var got inbox
	s := start(t, mqttsim.Options{OnKick: got.add})
	c := config(s)
	c.ClientID = "relay-7"
	c.Topic, c.Payload = "sites/{{.site}}/{{.client}}/wake", `{"for":"{{.client}}","unit":"{{.unit}}","confirm":"{{.confirm}}"}`
	c.MessageExpiry = 90 * time.Second
	d := open(t, c, driver.Env{})
	defer shut(t, d)
	target, err := d.Check([]byte(`{"driver":"m","client":"lamp:7","site":"north","unit":"3","x":1}`), netip.Addr{}, 10)
	if err != nil || string(target) != `{"client":"lamp:7","site":"north","unit":"3"}` {
		t.Fatalf("Check: %s, %v", target, err)
	}
	if aim := d.Aim(target); aim != "sites/north/lamp:7/wake" {
		t.Errorf("aim %q", aim)
	}
	for _, confirm := range []string{"", "K7TQ2MXB"} {
		if err := kickOne(t.Context(), d, string(target), confirm); err != nil {
			t.Fatal(err)
		}
	}
	want := mqttsim.Kick{Topic: "sites/north/lamp:7/wake", Payload: `{"for":"lamp:7","unit":"3","confirm":""}`, QoS: 1, Expiry: 90, ClientID: "relay-7"}
	coded := want
	coded.Payload = `{"for":"lamp:7","unit":"3","confirm":"K7TQ2MXB"}`
	if all := got.all(); !slices.Equal(all, []mqttsim.Kick{want, coded}) {
		t.Errorf("sent %+v", all)
	}
	shown, err := d.Show(driver.Kick{Target: target})
	for _, part := range []string{s.URL(), want.Topic, want.Payload, "1m30s"} {
		if err != nil || !strings.Contains(shown, part) {
			t.Errorf("Show says %q, %v; want %q in it", shown, err, part)
		}
	}
}

// TestTLS connects with a client's certificate, and does not without.
func TestTLS(t *testing.T) {
	s := start(t, mqttsim.Options{ClientCert: true})
	dir := t.TempDir()
	if err := s.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	c := config(s)
	c.TLS = outbound.TLS{CAFile: filepath.Join(dir, simtls.CAFile)}
	without := open(t, c, driver.Env{})
	defer shut(t, without)
	if err := kickOne(t.Context(), without, `{"client":"a"}`, ""); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("without a certificate: %v", err)
	}
	c.TLS.CertFile, c.TLS.KeyFile = filepath.Join(dir, simtls.CertFile), filepath.Join(dir, simtls.KeyFile)
	d := open(t, c, driver.Env{})
	defer shut(t, d)
	if err := kickOne(t.Context(), d, `{"client":"a"}`, ""); err != nil {
		t.Error(err)
	}
	c.TLS.CAFile = ""
	foreign := open(t, c, driver.Env{})
	defer shut(t, foreign)
	if err := kickOne(t.Context(), foreign, `{"client":"a"}`, ""); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a broker that nobody trusts: %v", err)
	}
	if s.Taken() != 1 {
		t.Errorf("%d messages were taken", s.Taken())
	}
}

func TestWrongPassword(t *testing.T) {
	s := start(t, mqttsim.Options{Username: "edition", Password: "right"})
	t.Setenv("EDITION_TEST_PASSWORD", "wr0ng")
	c := config(s)
	c.Username, c.Password.Env = "edition", "EDITION_TEST_PASSWORD"
	var out lines
	d := open(t, c, driver.Env{Log: slog.New(slog.NewTextHandler(&out, nil))})
	defer shut(t, d)
	err := kickOne(t.Context(), d, `{"client":"a"}`, "")
	if !errors.Is(err, edition.ErrUnavailable) || !strings.Contains(err.Error(), "0x86") || strings.Contains(err.Error()+out.String(), "wr0ng") {
		t.Errorf("error %v, log %s", err, out.String())
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

// TestBrokerComesLater opens the driver before there is a broker, kicks in
// vain, and again when there is one; then the broker goes.
func TestBrokerComesLater(t *testing.T) {
	door := kicktest.NewDoor(t)
	c := mqtt.DefaultConfig()
	c.Timeout = wait
	c.URL = "mqtt://" + kicktest.Nobody(t)
	refused := open(t, c, driver.Env{})
	defer shut(t, refused)
	c.URL = "mqtt://" + door.Addr()
	d := open(t, c, driver.Env{})
	defer shut(t, d)
	for _, d := range []*mqtt.Driver{refused, d} {
		if err := kickOne(t.Context(), d, `{"client":"a"}`, ""); !errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("without a broker: %v", err)
		}
	}
	s := start(t, mqttsim.Options{})
	door.Lead(s.Addr())
	until(t, "the driver finds the broker", func() bool {
		return kickOne(t.Context(), d, `{"client":"a"}`, "") == nil
	})
	door.Lead("")
	s.Drop()
	until(t, "the driver notices that it is gone", func() bool {
		return errors.Is(kickOne(t.Context(), d, `{"client":"a"}`, ""), edition.ErrUnavailable)
	})
}

// TestConnectionLostWhileKicking breaks the connection under messages that
// wait for their answer: they fail, and are not sent a second time when the
// connection is made again.
func TestConnectionLostWhileKicking(t *testing.T) {
	var got inbox
	stuck, asked := make(chan struct{}), make(chan struct{}, 1000)
	answer := answers(stuck)
	s := start(t, mqttsim.Options{OnKick: got.add, Answer: func(k mqttsim.Kick) byte {
		asked <- struct{}{}
		return answer(k)
	}})
	release := sync.OnceFunc(func() { close(stuck) })
	t.Cleanup(release) // before the broker is closed
	d := open(t, config(s), driver.Env{})
	defer shut(t, d)
	first := make(chan error, 1)
	go func() { first <- kickOne(t.Context(), d, `{"client":"stuck"}`, "") }()
	select {
	case err := <-first:
		t.Fatalf("the kick was answered: %v", err)
	case <-asked:
	}
	s.Drop()
	select {
	case err := <-first:
		if !errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("the kick under way: %v", err)
		}
	case <-time.After(wait):
		t.Fatal("a kick hangs on a connection that is lost")
	}
	release()
	until(t, "the driver connects again", func() bool { return kickOne(t.Context(), d, `{"client":"b"}`, "") == nil })
	n := 0
	for _, k := range got.all() {
		if k.Topic == "edition/kick/stuck" {
			n++
		}
	}
	if n > 1 {
		t.Errorf("a message that was told as failed was sent %d times", n)
	}
}

// TestReceiveMaximum kicks many at once at a broker that takes three: it ends
// the connection of a client that sends more (MQTT 5, section 3.3.4).
func TestReceiveMaximum(t *testing.T) {
	s := start(t, mqttsim.Options{ReceiveMaximum: 3})
	d := open(t, config(s), driver.Env{})
	defer shut(t, d)
	kicks := make([]driver.Kick, 256)
	for i := range kicks {
		kicks[i].Target = fmt.Appendf(nil, `{"client":"lamp-%d"}`, i)
	}
	errs := make([]error, len(kicks))
	d.Kick(t.Context(), kicks, errs)
	if err := errors.Join(errs...); err != nil || s.Taken() != len(kicks) {
		t.Errorf("%d of %d were taken: %v", s.Taken(), len(kicks), err)
	}
}

// TestBrokersLimits has a broker that takes QoS 0 and small packets alone.
func TestBrokersLimits(t *testing.T) {
	var got inbox
	none := byte(0)
	s := start(t, mqttsim.Options{OnKick: got.add, MaxQoS: &none, MaxPacket: 100})
	c := config(s)
	c.Payload = "NOTIFY the unit {{.unit}}"
	d := open(t, c, driver.Env{})
	defer shut(t, d)
	if err := kickOne(t.Context(), d, `{"client":"a","unit":"1"}`, ""); err != nil {
		t.Fatal(err)
	}
	until(t, "the message arrives", func() bool { return len(got.all()) == 1 })
	if k := got.all()[0]; k.QoS != 0 {
		t.Errorf("sent at QoS %d, which the broker does not take", k.QoS)
	}
	large := fmt.Sprintf(`{"client":"a","unit":"%064d"}`, 1)
	if err := kickOne(t.Context(), d, large, ""); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("a message larger than the broker takes: %v", err)
	}
	if err := kickOne(t.Context(), d, `{"client":"a","unit":"2"}`, ""); err != nil {
		t.Errorf("after one that was too large: %v", err)
	}
}

func TestNobodySubscribes(t *testing.T) {
	s := start(t, mqttsim.Options{Answer: answers(nil)})
	counts := make(map[string]int)
	d := open(t, config(s), driver.Env{Receipt: func(state string) { counts[state]++ }})
	defer shut(t, d)
	for _, client := range []string{"code-10", "lamp", "code-10"} {
		if err := kickOne(t.Context(), d, fmt.Sprintf(`{"client":%q}`, client), ""); err != nil {
			t.Error(err)
		}
	}
	if len(counts) != 1 || counts["no_subscriber"] != 2 {
		t.Errorf("counted %v", counts)
	}
}

// TestSilentBroker takes connections and says nothing.
func TestSilentBroker(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := mqtt.DefaultConfig()
	c.URL, c.Timeout = "mqtt://"+l.Addr().String(), 50*time.Millisecond
	d := open(t, c, driver.Env{})
	if err := kickOne(t.Context(), d, `{"client":"a"}`, ""); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	_ = d.Close() // in so short a time it may not end
	c.Timeout = wait
	d = open(t, c, driver.Env{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("closing")
	cancel(why)
	if err := kickOne(ctx, d, `{"client":"a"}`, ""); !errors.Is(err, why) {
		t.Errorf("a kick whose context has ended: %v", err)
	}
	shut(t, d) // while the driver still waits for the broker's first word
}
