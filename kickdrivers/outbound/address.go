package outbound

import "net/netip"

// Addresses that are nobody's on the Internet or lead back into the
// operator's own networks: IANA's special-purpose registries (RFC 6890 and
// what followed), and what clouds use for the metadata of their machines.
// fd00:ec2::254, Amazon's, lies outside of worldwide.
var (
	notPublic = prefixes(
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // shared: behind a carrier's address translator
		"127.0.0.0/8",      // loopback
		"168.63.129.16/32", // metadata: Azure
		"169.254.0.0/16",   // link-local; metadata at 169.254.169.254
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // protocol assignments; metadata: Oracle
		"192.0.2.0/24",     // documentation
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarks
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, broadcast
		"2001::/23",        // protocol assignments: Teredo, benchmarks, ORCHID
		"2001:db8::/32",    // documentation
		"3fff::/20",        // documentation
	)
	// worldwide is what IPv6 has given out (RFC 4291, section 2.4). The rest
	// is loopback, private, link-local, multicast, or nothing.
	worldwide = netip.MustParsePrefix("2000::/3")
	// An IPv4 address stands in these: at the end (RFC 6052), after 2 bytes
	// (RFC 3056).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	to4   = netip.MustParsePrefix("2002::/16")
)

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, s := range all {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// public reports whether an address is a host's on the Internet, seen from
// anywhere. An IPv4 address within an IPv6 one counts as itself.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ip.Zone() != "" {
		return false
	}
	if ip.Is6() {
		b := ip.As16()
		switch {
		case nat64.Contains(ip):
			return public(netip.AddrFrom4([4]byte(b[12:])))
		case to4.Contains(ip):
			return public(netip.AddrFrom4([4]byte(b[2:6])))
		case !worldwide.Contains(ip):
			return false
		}
	}
	return ip.IsValid() && !within(notPublic, ip)
}

func within(all []netip.Prefix, ip netip.Addr) bool {
	for _, p := range all {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
