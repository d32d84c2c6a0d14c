package wakeup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/edition-push/edition"
)

// network is one that devices may be in.
type network struct {
	netid     string // empty in the operator's list where codes name it
	codes     string // "mcc-mnc", may be empty beside a netid
	ranges    []netip.Prefix
	within    []netip.Prefix // the operator's, where ranges are the platform's; none: no matter
	protocols []string       // none: any
	offline   bool
}

// name is how requests and messages call it.
func (n *network) name() string {
	if n.netid != "" {
		return n.netid
	}
	return n.codes
}

// holds reports whether an address is one of the network's.
func (n *network) holds(ip netip.Addr) bool {
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	return in(n.ranges) && (len(n.within) == 0 || in(n.within))
}

// table is what is known of the networks. It does not change.
type table []network

// find returns the network that a device names: by netid; by its codes, which
// stand for the netid "mcc-mnc.default" or "mcc-mnc" as at the platform, else
// for the one network that has these codes and the device's address; or by
// all, where netid is only the part behind the codes.
func (t table) find(netid, codes string, ip netip.Addr) (*network, error) {
	ids := []string{codes + ".default", codes}
	if netid != "" {
		ids = []string{netid, codes + "." + netid}
	}
	for _, id := range ids {
		if i := slices.IndexFunc(t, func(n network) bool { return n.netid == id }); i >= 0 {
			return &t[i], nil
		}
	}
	var found *network
	for i := range t {
		if netid != "" || t[i].codes != codes || !t[i].holds(ip) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: %s are the codes of several networks: netid has to be given", edition.ErrForbidden, codes)
		}
		found = &t[i]
	}
	if found != nil {
		return found, nil
	}
	if netid == "" && slices.ContainsFunc(t, func(n network) bool { return n.codes == codes }) {
		return nil, fmt.Errorf("%w: %s lies outside the network %s", edition.ErrForbidden, ip, codes)
	}
	return nil, fmt.Errorf("%w: the network %q is not one of those that may be kicked", edition.ErrForbidden, cmp.Or(netid, codes))
}

// merge returns what devices may be in: what the platform tells, narrowed by
// the operator's list, if there is one.
func merge(told, own []network) table {
	if len(own) == 0 {
		return told
	}
	var t table
	for _, n := range told {
		for _, o := range own {
			if o.netid == n.netid || o.netid == "" && o.codes == n.codes {
				n.within = append(n.within, o.ranges...)
			}
		}
		if len(n.within) > 0 {
			t = append(t, n)
		}
	}
	return t
}

// info is a network as the platform tells it.
type info struct {
	NetID     string          `json:"netid"`
	Codes     string          `json:"mccmnc"`
	Range     json.RawMessage `json:"range"` // a text, or a list of several
	Protocols []string        `json:"protocols"`
	Offline   bool            `json:"offline"`
}

const (
	maxNetworks = 10000
	maxRanges   = 1000 // of one network
)

// parseNetInfo reads the platform's list: {"nets":[…]}, or the list alone, as
// it was at first. A network that makes no sense is left out and counted.
func parseNetInfo(body []byte) (told []network, bad int, err error) {
	var whole struct {
		Nets []json.RawMessage `json:"nets"`
	}
	if err = json.Unmarshal(body, &whole); err != nil {
		if err := json.Unmarshal(body, &whole.Nets); err != nil {
			return nil, 0, errors.New("the list of networks cannot be read")
		}
	}
	if whole.Nets == nil {
		return nil, 0, errors.New("the answer holds no list of networks")
	}
	if len(whole.Nets) > maxNetworks {
		return nil, 0, fmt.Errorf("%d networks are more than %d", len(whole.Nets), maxNetworks)
	}
	seen := make(map[string]bool)
	for _, raw := range whole.Nets {
		n, ok := parseInfo(raw)
		if !ok || seen[n.netid] {
			bad++
			continue
		}
		seen[n.netid] = true
		told = append(told, n)
	}
	return told, bad, nil
}

func parseInfo(raw json.RawMessage) (network, bool) {
	var i info
	if err := json.Unmarshal(raw, &i); err != nil || !validNetID.MatchString(i.NetID) {
		return network{}, false
	}
	var list []string
	var one string
	if json.Unmarshal(i.Range, &one) == nil {
		list = []string{one}
	} else if json.Unmarshal(i.Range, &list) != nil {
		return network{}, false
	}
	n := network{netid: i.NetID, protocols: i.Protocols, offline: i.Offline}
	if mcc, mnc, ok := strings.Cut(i.Codes, "-"); ok && validMCC.MatchString(mcc) && validMNC.MatchString(mnc) {
		n.codes = i.Codes
	}
	for _, s := range list {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil || p.Addr().Is4In6() {
			return network{}, false
		}
		n.ranges = append(n.ranges, p.Masked())
	}
	return n, len(n.ranges) > 0 && len(n.ranges) <= maxRanges
}

// several reports whether an address reaches more than one host of the
// network, or none.
func (n *network) several(ip netip.Addr) bool {
	if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	return slices.ContainsFunc(n.ranges, func(p netip.Prefix) bool { return edge(p, ip) }) ||
		slices.ContainsFunc(n.within, func(p netip.Prefix) bool { return edge(p, ip) })
}

// edge reports whether an address is the first or the last of an IPv4 network:
// what is sent there is, or was, broadcast.
func edge(p netip.Prefix, ip netip.Addr) bool {
	if !ip.Is4() || !p.Contains(ip) || p.Bits() >= 31 {
		return false
	}
	b := ip.As4()
	host := (uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])) << p.Bits()
	return host == 0 || host == ^uint32(0)<<p.Bits()
}
