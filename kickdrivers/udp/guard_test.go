package udp_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/udp"
)

// operator is a configuration with every kind of network.
func operator(c *udp.Config) {
	c.Networks = []udp.Network{
		{Name: "lab", CIDRs: []string{"10.0.0.0/8", "fd00::/8"}},
		{Name: "carrier", MCC: "214", MNC: "07", CIDRs: []string{"100.64.0.0/10"}, AnyAddress: true, Ports: "9000-9009"},
		{NetID: "plant", CIDRs: []string{"172.16.0.0/24", "172.16.9.9/32", "172.16.9.10/31"}, AnyAddress: true, Ports: "7"},
	}
}

// TestGuard is what devices may try.
func TestGuard(t *testing.T) {
	d := open(t, operator)
	no := func(says string) func(error) bool {
		return func(err error) bool {
			return errors.Is(err, edition.ErrForbidden) && strings.Contains(err.Error(), says)
		}
	}
	bad := func(says string) func(error) bool {
		return func(err error) bool {
			return errors.Is(err, edition.ErrMalformed) && strings.Contains(err.Error(), says)
		}
	}
	yes := func(err error) bool { return err == nil }
	for _, c := range []struct {
		from, target string
		want         func(error) bool
	}{
		{"10.1.2.3", `{"ip":"10.1.2.3","port":4000}`, yes},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":4000,"proto":"tcp"}`, yes},
		{"fd00::7", `{"ip":"fd00::7","port":4000}`, yes},
		{"fd00::7", `{"ip":"FD00:0:0:0:0:0:0:7","port":4000}`, yes},
		{"::ffff:10.1.2.3", `{"ip":"10.1.2.3","port":4000}`, yes},
		{"fd00::7%eth0", `{"ip":"fd00::7","port":4000}`, yes},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9000,"mcc":"214","mnc":"07"}`, yes},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9009}`, yes},
		{"192.0.2.1", `{"ip":"172.16.0.1","port":7,"netid":"plant"}`, yes},
		{"192.0.2.1", `{"ip":"172.16.9.9","port":7}`, yes},  // a /32 has no broadcast
		{"192.0.2.1", `{"ip":"172.16.9.11","port":7}`, yes}, // nor a /31

		// Somebody else, or somewhere else.
		{"10.1.2.3", `{"ip":"10.1.2.4","port":4000}`, no("10.1.2.4 is not the address that the request comes from, as network lab demands")},
		{"10.1.2.3", `{"ip":"10.1.2.4","port":4000,"own":true}`, no("not the address that the request comes from")},
		{"", `{"ip":"10.1.2.3","port":4000}`, no("not the address that the request comes from")},
		{"192.0.2.1", `{"ip":"192.0.2.1","port":4000}`, no("192.0.2.1 lies outside the networks")},
		{"127.0.0.1", `{"ip":"127.0.0.1","port":4000}`, no("lies outside")},
		{"169.254.169.254", `{"ip":"169.254.169.254","port":80}`, no("lies outside")},
		{"11.0.0.0", `{"ip":"11.0.0.0","port":4000}`, no("lies outside")},
		{"192.0.2.1", `{"ip":"10.1.2.3","port":4000,"netid":"plant"}`, no(`10.1.2.3 lies outside the network "plant"`)},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9000,"netid":"nowhere"}`, no(`the network "nowhere" is not one of those`)},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9000,"mcc":"214","mnc":"7"}`, bad("mnc")},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9000,"mcc":"214","mnc":"08"}`, no("the network 214-08 is not one of those")},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9000,"mcc":"214"}`, bad("mnc")},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9000,"netid":"plant","mcc":"214","mnc":"07"}`, no("is not one of those")},

		// Ports.
		{"10.1.2.3", `{"ip":"10.1.2.3","port":0}`, no("port 0")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":22}`, no("port 22 is not in 1024-65535, the ports of network lab")},
		{"192.0.2.1", `{"ip":"100.64.1.1","port":9010}`, no("port 9010 is not in 9000-9009, the ports of network carrier")},
		{"192.0.2.1", `{"ip":"172.16.0.1","port":8}`, no("the ports of network plant")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":65536}`, bad("65536")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":70000}`, bad("70000")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":-1}`, bad("-1")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":4000.5}`, bad("")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":"4000"}`, bad("")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":1e3}`, bad("")},

		// More than one host, or no host.
		{"10.255.255.255", `{"ip":"10.255.255.255","port":4000}`, no("not one host's address")},
		{"10.0.0.0", `{"ip":"10.0.0.0","port":4000}`, no("not one host's address")},
		{"192.0.2.1", `{"ip":"172.16.0.255","port":7}`, no("not one host's address")},
		{"255.255.255.255", `{"ip":"255.255.255.255","port":4000}`, no("not one host's address")},
		{"0.0.0.0", `{"ip":"0.0.0.0","port":4000}`, no("not one host's address")},
		{"::", `{"ip":"::","port":4000}`, no("not one host's address")},
		{"224.0.0.1", `{"ip":"224.0.0.1","port":4000}`, no("not one host's address")},
		{"ff02::1", `{"ip":"ff02::1","port":4000}`, no("not one host's address")},
		{"10.1.2.3", `{"ip":"::ffff:255.255.255.255","port":4000}`, no("not one host's address")},

		// Other spellings of addresses.
		{"10.1.2.3", `{"ip":"::ffff:10.1.2.3","port":4000}`, yes},
		{"10.1.2.3", `{"ip":"::ffff:127.0.0.1","port":4000}`, no("127.0.0.1 lies outside")},
		{"10.1.2.3", `{"ip":"::ffff:a01:203","port":4000}`, yes},
		{"10.1.2.3", `{"ip":"::10.1.2.3","port":4000}`, no("lies outside")},
		{"10.1.2.3", `{"ip":"64:ff9b::10.1.2.3","port":4000}`, no("lies outside")},
		{"fd00::7", `{"ip":"fd00::7%lo","port":4000}`, no("has a zone")},
		{"fd00::7", `{"ip":"fd00::7%","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"010.1.2.3","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"10.1.515","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"0x0a010203","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"167838211","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"10.1.2.3 ","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"10.1.2.3:80","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"localhost","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":"","port":4000}`, bad("")},
		{"10.1.2.3", `{"ip":null,"port":4000}`, bad("needs ip and port")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":4000,"proto":"sctp"}`, bad("sctp")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":4000,"proto":"UDP"}`, bad("UDP")},
		{"10.1.2.3", `{"ip":"10.1.2.3","port":4000,"netid":"` + strings.Repeat("x", 200) + `"}`, bad("netid")},
	} {
		from, _ := netip.ParseAddr(c.from)
		if _, err := d.Check(json.RawMessage(c.target), from, 200); !c.want(err) {
			t.Errorf("from %s: %s: %v", c.from, c.target, err)
		}
	}
}

// TestNoAmplification refuses a kick that is larger than what caused it.
func TestNoAmplification(t *testing.T) {
	d := open(t, operator)
	from := netip.MustParseAddr("10.1.2.3")
	target := json.RawMessage(`{"ip":"10.1.2.3","port":4000}`)
	size := len("NOTIFY 10.1.2.3:4000 K7TQ2MXB")
	if _, err := d.Check(target, from, size); err != nil {
		t.Error(err)
	}
	if _, err := d.Check(target, from, size-1); !errors.Is(err, edition.ErrForbidden) || !strings.Contains(err.Error(), "larger than the request") {
		t.Errorf("a kick of %d bytes for a request of %d: %v", size, size-1, err)
	}
}

// TestGuardAtKick has the configuration change after a device registered.
func TestGuardAtKick(t *testing.T) {
	port, h := listen(t)
	want := 0
	before := open(t, func(c *udp.Config) {
		c.Networks = []udp.Network{{CIDRs: []string{"127.0.0.0/8"}, AnyAddress: true, NetID: "n"}}
	})
	asked := []json.RawMessage{
		[]byte(`{"ip":"127.0.0.1","port":PORT}`),
		[]byte(`{"ip":"127.0.0.2","port":PORT}`),
		[]byte(`{"ip":"127.0.0.1","port":PORT,"netid":"n"}`),
	}
	var stored []json.RawMessage
	for _, raw := range asked {
		raw = json.RawMessage(strings.ReplaceAll(string(raw), "PORT", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()[len("0.0.0.0:"):]))
		s, err := before.Check(raw, netip.MustParseAddr("127.0.0.1"), 200)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, s)
	}
	for _, c := range []struct {
		now  udp.Network
		sent [3]bool
	}{
		{udp.Network{CIDRs: []string{"127.0.0.0/8"}, AnyAddress: true, NetID: "n"}, [3]bool{true, true, true}},
		{udp.Network{CIDRs: []string{"127.0.0.0/8"}, NetID: "n"}, [3]bool{true, false, true}},
		{udp.Network{CIDRs: []string{"127.0.0.0/8"}, AnyAddress: true}, [3]bool{true, true, false}},
		{udp.Network{CIDRs: []string{"127.0.0.2/32"}, AnyAddress: true, NetID: "n"}, [3]bool{false, true, false}},
		{udp.Network{CIDRs: []string{"127.0.0.0/8"}, AnyAddress: true, NetID: "n", Ports: "1"}, [3]bool{}},
	} {
		now := open(t, func(k *udp.Config) { k.Networks = []udp.Network{c.now} })
		errs := make([]error, len(stored))
		now.Kick(t.Context(), kicks(stored...), errs)
		for i, err := range errs {
			if c.sent[i] != (err == nil) || err != nil && !errors.Is(err, edition.ErrForbidden) {
				t.Errorf("%s under %+v: %v", stored[i], c.now, err)
			}
			if c.sent[i] {
				want++
			}
		}
	}
	for deadline := time.Now().Add(30 * time.Second); h.arrived() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d kicks arrived", h.arrived(), want)
		}
	}
	if n := h.arrived(); n != want {
		t.Errorf("%d kicks arrived, want %d", n, want)
	}
}
