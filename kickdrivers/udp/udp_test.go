package udp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/udp"
	"github.com/edition-push/edition/kickdrivers/udp/udpsim"
)

var loopback = udp.Network{Name: "loopback", CIDRs: []string{"127.0.0.0/8", "::1/128"}}

func open(t testing.TB, change func(*udp.Config)) *udp.Driver {
	t.Helper()
	c := udp.DefaultConfig()
	c.Networks, c.TCPTimeout = []udp.Network{loopback}, time.Minute
	if change != nil {
		change(&c)
	}
	d, err := udp.New(c, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // some tests have closed it
	return d
}

// heard is what a simulator has been sent.
type heard struct {
	mu  sync.Mutex
	all []udpsim.Kick
}

// listen starts a simulator on every loopback address.
func listen(t *testing.T) (port uint16, h *heard) {
	t.Helper()
	h = &heard{}
	s, err := udpsim.Start(udpsim.Options{Addr: "0.0.0.0:0", OnKick: func(k udpsim.Kick) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, k)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return netip.MustParseAddrPort(s.Addr()).Port(), h
}

func (h *heard) arrived() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

func (h *heard) sent() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, k := range h.all {
		fmt.Fprintln(&b, k.Proto, k.Text)
	}
	return b.String()
}

func TestSuite(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			kicktest.Run(t, func(t *testing.T) kicktest.Subject {
				port, h := listen(t)
				s := kicktest.Subject{
					Driver: open(t, func(c *udp.Config) { c.Networks[0].AnyAddress = true; c.Networks[0].NetID = "here" }),
					From:   netip.MustParseAddr("127.0.0.1"), Size: 200,
					Good: func(i int) json.RawMessage {
						return fmt.Appendf(nil, `{"ip":"127.0.%d.%d","port":%d,"proto":%q}`, i/200, i%200+1, port, proto)
					},
					Malformed: []json.RawMessage{[]byte(`{"ip":"127.0.0.1"}`), []byte(`{"ip":7,"port":4000}`)},
					Forbidden: []json.RawMessage{[]byte(`{"ip":"192.0.2.1","port":4000}`)},
					Alike: []json.RawMessage{
						fmt.Appendf(nil, `{"ip":"127.0.0.1","port":%d,"proto":"udp","netid":"here"}`, port),
						fmt.Appendf(nil, `{"ip":"127.0.0.1","port":%d,"proto":"tcp"}`, port),
						fmt.Appendf(nil, `{"ip":"::ffff:127.0.0.1","port":%d}`, port),
					},
					Arrived: h.arrived,
					Sent:    h.sent,
				}
				if proto == "tcp" {
					s.Stuck = stuck(t)
				}
				return s
			})
		})
	}
}

// stuck is a target whose backlog is full, so that connecting to it hangs.
func stuck(t *testing.T) json.RawMessage {
	port, ok := fullBacklog(t)
	if !ok {
		return nil
	}
	return fmt.Appendf(nil, `{"ip":"127.0.0.1","port":%d,"proto":"tcp"}`, port)
}

// TestWhatArrives sends each kind of kick to a real socket.
func TestWhatArrives(t *testing.T) {
	for _, c := range []struct{ network, ip, payload, code, want string }{
		{"udp", "127.0.0.1", "", "", "NOTIFY 127.0.0.1:PORT"},
		{"udp", "::1", "", "", "NOTIFY [::1]:PORT"},
		{"udp", "::1", "", "K7TQ2MXB", "NOTIFY [::1]:PORT K7TQ2MXB"},
		{"udp", "::ffff:127.0.0.1", "", "", "NOTIFY 127.0.0.1:PORT"},
		{"tcp", "127.0.0.1", "", "", "NOTIFY 127.0.0.1:PORT"},
		{"tcp", "::1", "wake {{.IP}} at {{.Port}}\n", "", "wake ::1 at PORT\n"},
		{"tcp", "127.0.0.1", "", "K7TQ2MXB", "NOTIFY 127.0.0.1:PORT K7TQ2MXB"},
		{"udp", "127.0.0.1", "up", "", "up"},
		{"udp", "127.0.0.1", "up", "K7TQ2MXB", "up K7TQ2MXB"},
	} {
		t.Run(c.network+" "+c.ip+" "+c.payload+" "+c.code, func(t *testing.T) {
			port, read := receive(t, c.network, c.ip)
			d := open(t, func(k *udp.Config) {
				if c.payload != "" {
					k.Payload = c.payload
				}
			})
			asked := fmt.Appendf(nil, `{"driver":"udp","ip":%q,"port":%d,"proto":%q}`, c.ip, port, c.network)
			target, err := d.Check(asked, netip.MustParseAddr(c.ip), len(asked))
			if err != nil {
				t.Fatal(err)
			}
			errs := make([]error, 1)
			k := driver.Kick{Target: target, Confirm: c.code}
			d.Kick(t.Context(), []driver.Kick{k}, errs)
			if errs[0] != nil {
				t.Fatal(errs[0])
			}
			want := strings.ReplaceAll(c.want, "PORT", fmt.Sprint(port))
			if got := read(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			host := net.JoinHostPort(netip.MustParseAddr(c.ip).Unmap().String(), fmt.Sprint(port))
			if got, err := d.Show(k); err != nil || got != c.network+" "+host+": "+want {
				t.Errorf("Show says %q, %v", got, err)
			}
			if len(want) > len(asked) {
				t.Errorf("%d bytes were sent for %d", len(want), len(asked))
			}
		})
	}
}

// receive listens and returns a function that waits for one kick.
func receive(t *testing.T, network, ip string) (port int, read func() string) {
	host := net.JoinHostPort(netip.MustParseAddr(ip).Unmap().String(), "0")
	if network == "tcp" {
		l, err := net.Listen("tcp", host)
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.Addr().(*net.TCPAddr).Port, func() string {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			b, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	c, err := net.ListenPacket("udp", host)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().(*net.UDPAddr).Port, func() string {
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1024)
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestBind(t *testing.T) {
	port, _ := listen(t)
	d := open(t, func(c *udp.Config) { c.Bind = []string{"127.0.0.9"} })
	if errs := kick(t, d, `{"ip":"127.0.0.1","port":%d,"own":true}`, port); errs[0] != nil {
		t.Error(errs[0])
	}
	c := udp.DefaultConfig()
	c.Networks, c.Bind = []udp.Network{loopback}, []string{"198.51.100.71"}
	if _, err := udp.New(c, driver.Env{}); !errors.Is(err, edition.ErrListen) {
		t.Errorf("bound to an address of another machine: %v, want ErrListen", err)
	}
}

func kicks(targets ...json.RawMessage) []driver.Kick {
	all := make([]driver.Kick, len(targets))
	for i, target := range targets {
		all[i].Target = target
	}
	return all
}

func kick(t *testing.T, d *udp.Driver, format string, args ...any) []error {
	errs := make([]error, 1)
	d.Kick(t.Context(), kicks(fmt.Appendf(nil, format, args...)), errs)
	return errs
}

// TestTargetFails tells a target that cannot be reached from a driver that
// does not work: only the latter may open the breaker.
func TestTargetFails(t *testing.T) {
	d := open(t, nil)
	nobody := netip.MustParseAddrPort(kicktest.Nobody(t))
	err := kick(t, d, `{"ip":%q,"port":%d,"proto":"tcp","own":true}`, nobody.Addr(), nobody.Port())[0]
	if err == nil || errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("nobody listens: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := kick(t, d, `{"ip":"127.0.0.1","port":4000,"own":true}`)[0]; !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("the socket is closed: %v, want ErrUnavailable", err)
	}
}

// TestOneFailsOthersArrive has a datagram in the middle of a batch that cannot
// be sent: from a loopback address nothing leaves the machine.
func TestOneFailsOthersArrive(t *testing.T) {
	port, h := listen(t)
	d := open(t, func(c *udp.Config) {
		c.Networks = []udp.Network{{CIDRs: []string{"127.0.0.0/8", "198.51.100.0/24"}, AnyAddress: true}}
		c.Bind = []string{"127.0.0.9"}
	})
	var targets []json.RawMessage
	for _, ip := range []string{"198.51.100.71", "127.0.0.1", "198.51.100.72", "198.51.100.73", "127.0.0.2", "198.51.100.74"} {
		targets = append(targets, fmt.Appendf(nil, `{"ip":%q,"port":%d,"proto":"udp"}`, ip, port))
	}
	errs := make([]error, len(targets))
	d.Kick(t.Context(), kicks(targets...), errs)
	for i, err := range errs {
		if bad := i != 1 && i != 4; bad != (err != nil) || errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("%s: %v", targets[i], err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); h.arrived() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 2 kicks arrived", h.arrived())
		}
	}
}

func TestTCPTimeout(t *testing.T) {
	port, ok := fullBacklog(t)
	if !ok {
		t.Skip("a full backlog does not hang here")
	}
	d := open(t, func(c *udp.Config) { c.TCPTimeout = 20 * time.Millisecond })
	if err := kick(t, d, `{"ip":"127.0.0.1","port":%d,"proto":"tcp","own":true}`, port)[0]; err == nil {
		t.Error("connected to a full backlog")
	}
}

// TestTCPPlaces fills all places and has the rest of a batch give up with its
// context.
func TestTCPPlaces(t *testing.T) {
	port, ok := fullBacklog(t)
	if !ok {
		t.Skip("a full backlog does not hang here")
	}
	d := open(t, func(c *udp.Config) { c.TCPParallel, c.TCPTimeout = 1, time.Minute })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	targets, errs := make([]json.RawMessage, 10), make([]error, 10)
	for i := range targets {
		targets[i] = fmt.Appendf(nil, `{"ip":"127.0.0.1","port":%d,"proto":"tcp","own":true}`, port)
	}
	d.Kick(ctx, kicks(targets...), errs)
	for i, err := range errs {
		if err == nil {
			t.Errorf("kick %d was sent", i)
		}
	}
}

// fullBacklog listens without accepting until connecting hangs.
func fullBacklog(t *testing.T) (port int, ok bool) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	shrinkBacklog(l)
	// The first has all the time it needs: it fills the backlog where that can
	// be shrunk, so that a later one that times out hangs in earnest.
	timeout := time.Minute
	for range 16 {
		c, err := net.DialTimeout("tcp4", l.Addr().String(), timeout)
		timeout = 50 * time.Millisecond
		if err != nil {
			return l.Addr().(*net.TCPAddr).Port, true
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	return 0, false
}
