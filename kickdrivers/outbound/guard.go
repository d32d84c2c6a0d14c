package outbound

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/edition-push/edition"
)

// Guard knows which URLs of devices may be asked. It decides three times: when
// a device registers (Check), before each request, and, about the address,
// when a connection is made. Make one with NewGuard.
type Guard struct {
	// Fixed after construction.
	hosts    []host
	networks []netip.Prefix
}

// host is one listed host.
type host struct {
	name  string // as canonical makes it, without "*."
	below bool   // any name that ends in "."+name, instead of name itself
	port  string
}

func (h *host) covers(name, port string) bool {
	if port != h.port {
		return false
	}
	if h.below {
		return strings.HasSuffix(name, "."+h.name)
	}
	return name == h.name
}

// NewGuard returns the guard for the keys hosts and networks of a
// configuration, and all that is wrong with them, each with its key.
//
// A host is a name, or "*." and a name for all below it, or an IP address;
// a port may follow, 443 if none does. networks lists the CIDRs that may be
// connected to besides addresses of the Internet: private ones, loopback.
func NewGuard(hosts, networks []string) (*Guard, []error) {
	var faults []error
	g := &Guard{}
	if len(hosts) == 0 {
		faults = append(faults, errors.New("hosts: none is given, so that nobody could be kicked"))
	}
	for i, s := range hosts {
		h, ok := parseHost(s)
		if !ok {
			faults = append(faults, fmt.Errorf("hosts[%d]: %q is not a host such as push.example.org, *.example.org or 10.0.0.1:8443", i, s))
		}
		g.hosts = append(g.hosts, h)
	}
	for i, s := range networks {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("networks[%d]: %q is not a CIDR such as 10.0.0.0/8", i, s))
		case p.Addr().Is4In6():
			faults = append(faults, fmt.Errorf("networks[%d]: %q is not written as IPv4", i, s))
		case p != p.Masked():
			faults = append(faults, fmt.Errorf("networks[%d]: %q is not a network: bits are set behind the mask; %s is one", i, s, p.Masked()))
		default:
			g.networks = append(g.networks, p)
		}
	}
	return g, faults
}

func parseHost(s string) (host, bool) {
	name, below := strings.CutPrefix(s, "*.")
	u, err := url.Parse("https://" + name)
	if err != nil || u.Host != name || name == "" {
		return host{}, false
	}
	h := host{below: below}
	var ok bool
	if h.name, h.port, ok = canonical(u); !ok {
		return host{}, false
	}
	_, err = netip.ParseAddr(h.name)
	return h, !below || err != nil
}

// Single reports whether the operator has listed one host alone: then its
// failures are those of the driver's provider.
func (g *Guard) Single() bool { return len(g.hosts) == 1 && !g.hosts[0].below }

// maxURL bounds a URL that a device names, in bytes.
const maxURL = 2048

// Check examines a URL that a device has named and returns it in one spelling:
// host in lower case without a dot at its end, no fragment, no port where it
// is 443. What is no absolute URL is edition.ErrMalformed, what is not allowed
// edition.ErrForbidden with the rule. Errors do not carry the URL.
func (g *Guard) Check(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("%w: the URL is longer than %d bytes", edition.ErrMalformed, maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Opaque != "" || u.Host == "" || strings.ContainsFunc(u.RawQuery, notVisible) {
		return nil, fmt.Errorf("%w: not an absolute URL", edition.ErrMalformed)
	}
	if err := g.allow(u); err != nil {
		return nil, err
	}
	name, port, _ := canonical(u)
	u.Host = net.JoinHostPort(name, port)
	if port == "443" {
		u.Host = strings.TrimSuffix(u.Host, ":443")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// notVisible reports what cannot stand in a request line.
func notVisible(r rune) bool { return r <= ' ' || r > '~' }

// allow returns nil, or edition.ErrForbidden with the rule that a URL breaks.
func (g *Guard) allow(u *url.URL) error {
	switch {
	case u.Scheme != "https":
		return fmt.Errorf("%w: the URL is not https", edition.ErrForbidden)
	case u.User != nil:
		return fmt.Errorf("%w: the URL holds a user name", edition.ErrForbidden)
	}
	name, port, ok := canonical(u)
	if !ok {
		return fmt.Errorf("%w: %.80q is not a host name in ASCII letters, digits and hyphens, nor an IP address in its usual form", edition.ErrForbidden, u.Host)
	}
	for i := range g.hosts {
		if g.hosts[i].covers(name, port) {
			return nil
		}
	}
	return fmt.Errorf("%w: the host %.80q with port %s is not one of those listed", edition.ErrForbidden, name, port)
}

// canonical returns a URL's host in the one spelling that is compared, and its
// port. It takes no name that a resolver or an IDNA mapping might read as
// something else: letters beyond ASCII, and numbers such as 2130706433 or
// 0x7f.1, which some resolvers take for addresses.
func canonical(u *url.URL) (name, port string, ok bool) {
	name, port = strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", "", false
		}
		port = "443"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", "", false
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		ip = ip.Unmap()
		return ip.String(), port, ip.Zone() == "" && (ip.Is4() || strings.HasPrefix(u.Host, "["))
	}
	name = strings.TrimSuffix(name, ".")
	return name, port, validName(name) && !strings.HasPrefix(u.Host, "[")
}

// validName reports whether s is a name as hosts have them (RFC 1123, section
// 2.1; underscores, which some use, too) that no resolver takes for a number.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
		last = label
	}
	_, err := strconv.ParseUint(last, 0, 64)
	return err != nil && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// control is asked by the dialer when it has an address, before it connects.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: connecting to what is not an IP address", edition.ErrForbidden)
	}
	if !g.reachable(to.Addr()) {
		return fmt.Errorf("%w: the host has the address %s, which is neither of the Internet nor in the listed networks", edition.ErrForbidden, to.Addr())
	}
	return nil
}

// reachable reports whether an address may be connected to.
func (g *Guard) reachable(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ip.IsUnspecified() || ip.IsMulticast() {
		return false // whatever is listed
	}
	return public(ip) || ip.Zone() == "" && within(g.networks, ip)
}
