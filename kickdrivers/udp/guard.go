package udp

import (
	"fmt"
	"net/netip"

	"github.com/edition-push/edition"
)

// guard knows which targets the operator allows. It decides twice: when a
// device registers, and again when it is kicked, for the configuration may
// have changed between.
type guard struct{ networks []network }

type network struct {
	name, netid, mcc, mnc string
	subnets               []subnet
	anyAddress            bool
	low, high             uint16 // ports
}

// subnet is a prefix with the two addresses in it that reach more than one
// host: IPv4 broadcasts to the last, and did to the first.
type subnet struct {
	netip.Prefix
	first, last netip.Addr // invalid when every address is a host
}

func newSubnet(p netip.Prefix) subnet {
	s := subnet{Prefix: p}
	if p.Addr().Is4() && p.Bits() < 31 {
		b := p.Addr().As4()
		for bit := p.Bits(); bit < 32; bit++ {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		s.first, s.last = p.Addr(), netip.AddrFrom4(b)
	}
	return s
}

// check returns nil, or ErrForbidden with the rule that forbids the target.
func (g *guard) check(t *target) error {
	for i := range g.networks {
		if g.networks[i].refusal(t) == allowed {
			return nil
		}
	}
	return g.explain(t)
}

// refusal is why a network does not allow a target: the later, the closer it
// came.
type refusal uint8

const (
	notNamed  refusal = iota // the target names another network
	outside                  // the address is not in it
	broadcast                // it reaches more than one host
	badPort
	notOwn // it is not the address that the device connects from
	allowed
)

func (n *network) refusal(t *target) refusal {
	if t.netid != "" && t.netid != n.netid || t.mcc != "" && (t.mcc != n.mcc || t.mnc != n.mnc) {
		return notNamed
	}
	why := outside
	for i := range n.subnets {
		if s := &n.subnets[i]; s.Contains(t.ip) {
			if t.ip == s.first || t.ip == s.last {
				why = broadcast
				continue
			}
			switch {
			case !single(t.ip):
				return broadcast
			case t.port < n.low || t.port > n.high:
				return badPort
			case !n.anyAddress && !t.own:
				return notOwn
			}
			return allowed
		}
	}
	return why
}

// single reports whether an address can only be one host's. It has no zone
// and is not an IPv4 address in IPv6 clothes: a target never is.
func single(ip netip.Addr) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// explain names the rule of the network that came closest to allowing it.
func (g *guard) explain(t *target) error {
	best, at := notNamed, &network{}
	for i := range g.networks {
		if why := g.networks[i].refusal(t); why > best {
			best, at = why, &g.networks[i]
		}
	}
	if !single(t.ip) {
		best = broadcast
	}
	switch best {
	case outside:
		if t.netid != "" || t.mcc != "" {
			return fmt.Errorf("%w: %s lies outside the network %s", edition.ErrForbidden, t.ip, t.network())
		}
		return fmt.Errorf("%w: %s lies outside the networks that may be kicked", edition.ErrForbidden, t.ip)
	case broadcast:
		return fmt.Errorf("%w: %s is not one host's address", edition.ErrForbidden, t.ip)
	case badPort:
		return fmt.Errorf("%w: port %d is not in %d-%d, the ports of %s", edition.ErrForbidden, t.port, at.low, at.high, at.title())
	case notOwn:
		return fmt.Errorf("%w: %s is not the address that the request comes from, as %s demands", edition.ErrForbidden, t.ip, at.title())
	}
	return fmt.Errorf("%w: the network %s is not one of those that may be kicked", edition.ErrForbidden, t.network())
}

// title is how messages call a network.
func (n *network) title() string {
	switch {
	case n.name != "":
		return "network " + n.name
	case n.netid != "":
		return "network " + n.netid
	case n.mcc != "":
		return "network " + n.mcc + "-" + n.mnc
	}
	return "its network"
}
