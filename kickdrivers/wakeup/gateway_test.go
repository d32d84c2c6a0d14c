package wakeup_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"

	"github.com/edition-push/edition"
	gateway "github.com/edition-push/edition/gateway/wakeup"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/wakeup"
)

// sender is what a node sends by: it keeps what it is given.
type sender struct {
	mu   sync.Mutex
	sent []string // Guarded by mu.
	err  error    // fixed: what it says to every kick
}

// Check implements gateway.Kicks.
func (s *sender) Check(kick json.RawMessage, _ netip.Addr, _ int) (edition.Routes, error) {
	return edition.Routes{{Driver: "udp", Target: kick}}, nil
}

// Wake implements gateway.Kicks.
func (s *sender) Wake(w kickdrivers.Wake) error {
	if s.err != nil {
		return s.err
	}
	s.mu.Lock()
	s.sent = append(s.sent, string(w.Routes[0].Target))
	s.mu.Unlock()
	return nil
}

// TestOwnGateway asks this project's own platform: the two ends of the API
// agree on what its answers mean.
func TestOwnGateway(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	networks := []gateway.Network{
		{MCC: "214", MNC: "07", Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Protocols: []string{"udp"}},
		{NetID: "dark", Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Offline: true},
	}
	serve := func(o gateway.Options) (*gateway.Node, string) {
		n, err := gateway.New(o)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(n)
		t.Cleanup(s.Close)
		return n, s.URL
	}
	global := gateway.Global{Networks: networks}
	const good = `{"ip":"10.1.2.3","port":4000,"mcc":"214","mnc":"07"}`

	out := &sender{}
	node, url := serve(gateway.Options{Access: gateway.Access{Networks: loopback}, Kicks: out, Driver: "udp", Global: global})
	c := wakeup.DefaultConfig()
	c.URL, c.Timeout = url, wait
	d := open(t, c, driver.Env{})
	defer shut(t, d)
	stored, err := check(d, good)
	if err != nil || string(stored) != `{"ip":"10.1.2.3","port":4000,"proto":"udp","netid":"214-07.default"}` {
		t.Fatalf("Check: %s, %v", stored, err)
	}
	if err := kickOne(t.Context(), d, string(stored), ""); err != nil {
		t.Fatal(err)
	}
	if want := `{"driver":"udp","ip":"10.1.2.3","port":4000,"proto":"udp"}`; len(out.sent) != 1 || out.sent[0] != want {
		t.Errorf("sent %q, want %s", out.sent, want)
	}
	for target, want := range map[string]error{
		`{"ip":"10.1.2.3","port":4000,"netid":"none"}`:                       edition.ErrForbidden,
		`{"ip":"11.1.2.3","port":4000,"mcc":"214","mnc":"07"}`:               edition.ErrForbidden,
		`{"ip":"10.1.2.3","port":4000,"mcc":"214","mnc":"07","proto":"tcp"}`: edition.ErrForbidden,
	} {
		if _, err := check(d, target); !errors.Is(err, want) {
			t.Errorf("Check(%s): %v, want %v", target, err, want)
		}
	}

	// A list of one's own that says more than the platform, which is not asked
	// for its own: its answers decide.
	blind := func(url string) *wakeup.Driver {
		c := wakeup.DefaultConfig()
		c.URL, c.Timeout, c.Interval = url, wait, 0
		for _, id := range []string{"214-07.default", "dark", "none"} {
			c.Networks = append(c.Networks, wakeup.Network{NetID: id, CIDRs: []string{"10.0.0.0/7"}})
		}
		d := open(t, c, driver.Env{})
		t.Cleanup(func() { shut(t, d) })
		return d
	}
	kinds := []error{edition.ErrForbidden, edition.ErrUnavailable, edition.ErrTooMany}
	expect := func(d *wakeup.Driver, target string, want error) {
		t.Helper()
		err := kickOne(t.Context(), d, target, "")
		if err == nil {
			t.Errorf("Kick(%s) is told as sent", target)
		}
		for _, kind := range kinds {
			if errors.Is(err, kind) != errors.Is(want, kind) {
				t.Errorf("Kick(%s): %v, want %v", target, err, want)
			}
		}
	}
	one := errors.New("this target failed")
	expect(blind(url), `{"ip":"10.1.2.3","port":4000,"netid":"none"}`, edition.ErrForbidden)
	expect(blind(url), `{"ip":"11.1.2.3","port":4000,"netid":"214-07.default"}`, edition.ErrForbidden)
	expect(blind(url), `{"ip":"10.1.2.3","port":4000,"netid":"214-07.default","proto":"tcp"}`, edition.ErrForbidden)
	expect(blind(url), `{"ip":"10.1.2.3","port":4000,"netid":"dark"}`, one)
	expect(blind(url+"/elsewhere"), `{"ip":"10.1.2.3","port":4000,"netid":"dark"}`, edition.ErrUnavailable)
	node.Drain()
	expect(blind(url), `{"ip":"10.1.2.3","port":4000,"netid":"214-07.default"}`, edition.ErrUnavailable)

	_, closed := serve(gateway.Options{Kicks: out, Driver: "udp", Global: global})
	expect(blind(closed), `{"ip":"10.1.2.3","port":4000,"netid":"214-07.default"}`, edition.ErrUnavailable)

	busy := &sender{err: edition.ErrTooMany}
	_, full := serve(gateway.Options{Access: gateway.Access{Networks: loopback}, Kicks: busy, Driver: "udp", Global: global})
	expect(blind(full), `{"ip":"10.1.2.3","port":4000,"netid":"214-07.default"}`, edition.ErrUnavailable)
}
