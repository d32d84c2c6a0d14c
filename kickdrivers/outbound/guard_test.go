package outbound

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

func guardFor(t *testing.T, hosts, networks []string) *Guard {
	t.Helper()
	g, faults := NewGuard(hosts, networks)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return g
}

func TestGuardURLs(t *testing.T) {
	g := guardFor(t, []string{"good.example", "*.below.example", "port.example:8443", "10.0.0.5:8443", "[fd00::1]", "Case.Example"}, nil)
	for _, c := range []struct {
		url  string
		want string // as it is stored
		err  error
	}{
		{url: "https://good.example/p/1?x=y", want: "https://good.example/p/1?x=y"},
		{url: "https://good.example", want: "https://good.example"},
		{url: "HTTPS://GOOD.Example/P", want: "https://good.example/P"},
		{url: "https://good.example./p", want: "https://good.example/p"},
		{url: "https://good.example:443/p", want: "https://good.example/p"},
		{url: "https://good.example/p#fragment", want: "https://good.example/p"},
		{url: "https://case.example/", want: "https://case.example/"},
		{url: "https://a.below.example/", want: "https://a.below.example/"},
		{url: "https://a.b.below.example/", want: "https://a.b.below.example/"},
		{url: "https://port.example:8443/", want: "https://port.example:8443/"},
		{url: "https://10.0.0.5:8443/", want: "https://10.0.0.5:8443/"},
		{url: "https://[::ffff:10.0.0.5]:8443/", want: "https://10.0.0.5:8443/"},
		{url: "https://[fd00:0::1]/", want: "https://[fd00::1]/"},

		{url: "", err: edition.ErrMalformed},
		{url: "good.example/p", err: edition.ErrMalformed},
		{url: "//good.example/p", err: edition.ErrMalformed},
		{url: "https:good.example", err: edition.ErrMalformed},
		{url: "https:///p", err: edition.ErrMalformed},
		{url: "https://good.example/\x00", err: edition.ErrMalformed},
		{url: "https://good.example/\r\nHost: evil.example", err: edition.ErrMalformed},
		{url: `https://good.example\@evil.example/`, err: edition.ErrMalformed},
		{url: "https://good.example/p?a HTTP/1.1", err: edition.ErrMalformed},
		{url: "https://good.example/p?é", err: edition.ErrMalformed},
		{url: "https://good.example:x/", err: edition.ErrMalformed},
		{url: "https://[fd00::1/", err: edition.ErrMalformed},
		{url: "https://%67ood.example/", err: edition.ErrMalformed},
		{url: "https://good.example/" + strings.Repeat("x", maxURL), err: edition.ErrMalformed},

		{url: "http://good.example/", err: edition.ErrForbidden},
		{url: "ftp://good.example/", err: edition.ErrForbidden},
		{url: "unix://good.example/", err: edition.ErrForbidden},
		{url: "https://evil.example/", err: edition.ErrForbidden},
		{url: "https://good.example@evil.example/", err: edition.ErrForbidden},
		{url: "https://good.example:443@evil.example/", err: edition.ErrForbidden},
		{url: "https://evil@good.example/", err: edition.ErrForbidden},
		{url: "https://evil.example#@good.example/", err: edition.ErrForbidden},
		{url: "https://evil.example?@good.example/", err: edition.ErrForbidden},
		{url: "https://evil.example/good.example", err: edition.ErrForbidden},
		{url: "https://good.example.evil.example/", err: edition.ErrForbidden},
		{url: "https://evilgood.example/", err: edition.ErrForbidden},
		{url: "https://below.example/", err: edition.ErrForbidden},
		{url: "https://evilbelow.example/", err: edition.ErrForbidden},
		{url: "https://.below.example/", err: edition.ErrForbidden},
		{url: "https://good.example../", err: edition.ErrForbidden},
		{url: "https://good.example:22/", err: edition.ErrForbidden},
		{url: "https://good.example:0/", err: edition.ErrForbidden},
		{url: "https://good.example:0443/", err: edition.ErrForbidden},
		{url: "https://good.example:65979/", err: edition.ErrForbidden}, // 443 + 2^16
		{url: "https://good.example:/", err: edition.ErrForbidden},
		{url: "https://port.example/", err: edition.ErrForbidden},
		{url: "https://10.0.0.5/", err: edition.ErrForbidden},
		{url: "https://10.0.0.6:8443/", err: edition.ErrForbidden},
		{url: "https://127.0.0.1/", err: edition.ErrForbidden},
		{url: "https://[fd00::1%25eth0]/", err: edition.ErrForbidden},
		{url: "https://[good.example]/", err: edition.ErrMalformed},
		// What maps to ASCII by IDNA or compatibility forms.
		{url: "https://good。example/", err: edition.ErrForbidden},
		{url: "https://ｇood.example/", err: edition.ErrForbidden},
		{url: "https://evil.example／.below.example/", err: edition.ErrForbidden},
		{url: "https://bücher.below.example/", err: edition.ErrForbidden},
		{url: "https://xn--bcher-kva.below.example/", want: "https://xn--bcher-kva.below.example/"},
		// What some resolvers take for 10.0.0.5 or 127.0.0.1.
		{url: "https://167772165:8443/", err: edition.ErrForbidden},
		{url: "https://0x0a000005:8443/", err: edition.ErrForbidden},
		{url: "https://10.5:8443/", err: edition.ErrForbidden},
		{url: "https://012.0.0.5:8443/", err: edition.ErrForbidden},
		{url: "https://0x7f.1/", err: edition.ErrForbidden},
	} {
		got, err := g.Check(c.url)
		switch {
		case c.err == nil && (err != nil || got.String() != c.want):
			t.Errorf("Check(%q) = %v, %v; want %s", c.url, got, err, c.want)
		case !errors.Is(err, c.err):
			t.Errorf("Check(%q) = %v, %v; want %v", c.url, got, err, c.err)
		}
		if err == nil {
			if again, err := g.Check(got.String()); err != nil || again.String() != got.String() {
				t.Errorf("Check(%q) = %v, %v: not the same again", got, again, err)
			}
		}
	}
}

func TestGuardFaults(t *testing.T) {
	if _, faults := NewGuard(nil, nil); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "hosts: ") {
		t.Errorf("no hosts: %v", faults)
	}
	for _, s := range []string{
		"", "*", "*.", "*.*.example", "a.*.example", "https://a.example", "a.example/p", "a.example:", "a.example:0",
		"a.example:99999", "u@a.example", "a..example", "2130706433", "0x7f000001", "127.1", "127.0.0.01", "*.10.0.0.5", "bücher.example", "a b",
		"[fd00::1", "fd00::1", "[fe80::1%25lo]", "-a.example", "*.-a",
	} {
		if _, faults := NewGuard([]string{"ok.example", s}, nil); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "hosts[1]: ") {
			t.Errorf("host %q: faults %v", s, faults)
		}
	}
	_, faults := NewGuard([]string{"ok.example"}, []string{"10.0.0.0/8", "10.0.0.1/8", "10.0.0.1", "::ffff:10.0.0.0/104", "fd00::/8"})
	for i, want := range []string{"networks[1]: ", "networks[2]: ", "networks[3]: "} {
		if len(faults) != 3 || !strings.HasPrefix(faults[i].Error(), want) {
			t.Fatalf("networks: faults %v", faults)
		}
	}
}

func TestGuardSingle(t *testing.T) {
	for _, c := range []struct {
		hosts []string
		want  bool
	}{
		{[]string{"a.example"}, true},
		{[]string{"*.a.example"}, false},
		{[]string{"a.example", "b.example"}, false},
	} {
		if got := guardFor(t, c.hosts, nil).Single(); got != c.want {
			t.Errorf("Single of %v is %v", c.hosts, got)
		}
	}
}

func TestGuardAddresses(t *testing.T) {
	g := guardFor(t, []string{"a.example"}, []string{"10.20.0.0/16", "fd00:20::/32", "0.0.0.0/8", "224.0.0.0/4"})
	for _, c := range []struct {
		ip   string
		want bool
	}{
		{"93.184.216.34", true},
		{"2606:2800:220:1:248:1893:25c8:1946", true},
		{"::ffff:93.184.216.34", true},
		{"64:ff9b::5db8:d822", true}, // the same behind NAT64
		{"2002:5db8:d822::1", true},  // and 6to4
		{"10.20.3.4", true},          // listed
		{"::ffff:10.20.3.4", true},
		{"fd00:20::1", true},

		{"10.0.0.1", false},
		{"172.16.0.1", false},
		{"172.31.255.255", false},
		{"192.168.1.1", false},
		{"100.64.0.1", false},
		{"100.127.255.254", false},
		{"127.0.0.1", false},
		{"127.255.255.254", false},
		{"169.254.169.254", false},
		{"168.63.129.16", false},
		{"100.100.100.200", false},
		{"192.0.0.192", false},
		{"0.0.0.0", false}, // though listed
		{"224.0.0.1", false},
		{"255.255.255.255", false},
		{"198.18.0.1", false},
		{"::", false},
		{"::1", false},
		{"::127.0.0.1", false},
		{"::ffff:127.0.0.1", false},
		{"::ffff:169.254.169.254", false},
		{"::ffff:0:127.0.0.1", false},
		{"64:ff9b::7f00:1", false},
		{"64:ff9b::a9fe:a9fe", false},
		{"64:ff9b::a14:304", false}, // 10.20.3.4, but not over the translator
		{"64:ff9b:1::808:808", false},
		{"2002:7f00:1::1", false},
		{"2002:a9fe:a9fe::", false},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", false}, // Teredo
		{"2001:db8::1", false},
		{"fe80::1", false},
		{"fe80::1%eth0", false},
		{"2606:2800::1%eth0", false},
		{"fec0::1", false},
		{"fd00:ec2::254", false},
		{"fc00::1", false},
		{"ff02::1", false},
		{"4000::1", false},
	} {
		if got := g.reachable(netip.MustParseAddr(c.ip)); got != c.want {
			t.Errorf("%s may be connected to: %v, want %v", c.ip, got, c.want)
		}
	}
	for _, bad := range []string{"", "localhost:443", "/run/a.sock"} {
		if err := g.control("tcp", bad, nil); !errors.Is(err, edition.ErrForbidden) {
			t.Errorf("connecting to %q: %v", bad, err)
		}
	}
}
