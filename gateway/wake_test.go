package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/wire"
)

// TestUpstream: what comes over a relay's own connection.
func TestUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := new(fakeKicks)
		o := options(k)
		o.Upstream = gateway.Rights{Drivers: []string{"udp"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Rate: 1, Burst: 6}
		g := gateway.New(o)
		wake := func(kick string) wire.WakeResult {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return g.Wake(ctx, wire.WakeRequest{Kick: json.RawMessage(kick)})
		}
		go func() {
			synctest.Wait()
			k.last(t).Report(kickdrivers.Result{Driver: "udp", Outcome: kickdrivers.Sent})
		}()
		if r := wake(`{"driver":"udp","ip":"10.1.1.1"}`); r.Outcome != "sent" || r.Driver != "udp" {
			t.Errorf("got %+v", r)
		}
		if r := wake(`{"driver":"udp","ip":"10.1.1.2"}`); r.Outcome != "failed" {
			t.Errorf("without an outcome in time: %+v", r)
		}
		for kick, want := range map[string]string{
			`{"driver":"sms"}`:                    "refused",
			`{"driver":"udp","ip":"192.0.2.1"}`:   "refused",
			`7`:                                   "refused",
			`"` + strings.Repeat("x", 9000) + `"`: "refused",
		} {
			if r := wake(kick); r.Outcome != want || r.Detail == "" {
				t.Errorf("%.40s: %+v", kick, r)
			}
		}
		time.Sleep(10 * time.Second)
		k.err = errors.New("no")
		for range 6 {
			wake(`{"driver":"udp","ip":"10.1.1.1"}`)
		}
		if r := wake(`{"driver":"udp","ip":"10.1.1.1"}`); r.Outcome != "rate_limited" || r.RetryAfter != 1 {
			t.Errorf("over the rate: %+v", r)
		}
		g.Drain()
		if r := wake(`{"driver":"udp","ip":"10.1.1.1"}`); r.Outcome != "failed" || r.RetryAfter == 0 {
			t.Errorf("after Drain: %+v", r)
		}
	})
	g := gateway.New(options(new(fakeKicks)))
	if r := g.Wake(t.Context(), wire.WakeRequest{Kick: json.RawMessage(`{"driver":"udp"}`)}); r.Outcome != "refused" {
		t.Errorf("an upstream without rights: %+v", r)
	}
}

// TestDatagram goes all the way: a request, the dispatcher, driver udp, a
// device that gets its datagram and connects.
func TestDatagram(t *testing.T) {
	phone, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	at := phone.LocalAddr().(*net.UDPAddr)
	d, url := node(t)

	c := &caller{t: t, url: url}
	explicit := fmt.Sprintf(`{"kick":{"driver":"udp","ip":"127.0.0.1","port":%d},"from":"127.0.0.1","confirm":"ABCD1234"}`, at.Port)
	id := c.post(explicit)
	if got, want := read(t, phone), fmt.Sprintf("NOTIFY 127.0.0.1:%d ABCD1234", at.Port); got != want {
		t.Errorf("the device got %q, want %q", got, want)
	}
	if s := c.await(id, func(s wire.WakeState) bool { return s.State == "done" }); s.Outcome != "sent" || s.Driver != "udp" {
		t.Errorf("the outcome is %+v", s)
	}

	// Without the address that the caller knows it at, another device could be
	// meant.
	if status, body := c.call("POST", wire.PathKicks, strings.Replace(explicit, `"from":"127.0.0.1",`, "", 1)); status != 403 {
		t.Errorf("a target that is nobody's own: %d %s", status, body)
	}

	id = c.post(fmt.Sprintf(`{"uaid":%q}`, device))
	c.await(id, func(s wire.WakeState) bool { return s.Outcome == "sent" })
	d.Stop(edition.Holder{UAID: device})
	if s := c.await(id, func(s wire.WakeState) bool { return s.State == "done" }); s.Outcome != "answered" {
		t.Errorf("the outcome is %+v", s)
	}
}

// node is a dispatcher with driver udp into the loopback network, and its
// gateway on a socket. device is woken at a port where nobody listens.
func node(t *testing.T) (*kickdrivers.Dispatcher, string) {
	t.Helper()
	entries, err := kickdrivers.Decode(kickdrivers.Default()[:1])
	if err != nil {
		t.Fatal(err)
	}
	routes := func(h edition.Holder) (edition.Routes, error) {
		return edition.Routes{{Driver: "udp", Target: json.RawMessage(`{"ip":"127.0.0.1","port":65530,"proto":"udp","own":true}`)}}, nil
	}
	d, err := kickdrivers.New(kickdrivers.Options{Entries: entries, Routes: routes, StillDue: func(edition.Holder) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	o := options(d)
	o.Routes = routes
	s := httptest.NewServer(gateway.New(o))
	t.Cleanup(func() {
		s.Close()
		cancel()
		<-ended
	})
	return d, s.URL
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func read(t *testing.T, c net.PacketConn) string {
	t.Helper()
	buf := make([]byte, 1024)
	c.SetReadDeadline(time.Now().Add(patience))
	n, _, err := c.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
