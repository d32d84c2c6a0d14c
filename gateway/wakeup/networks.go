package wakeup

import (
	"net/netip"
	"slices"
)

// codes is the network's name as netinfo has it.
func (n Network) codes() string {
	if n.MCC == "" {
		return ""
	}
	return n.MCC + "-" + n.MNC
}

func (n *network) offline() bool { return n.Offline || n.down.Load() }

// find returns the network that a caller names: by netid; by mcc and mnc,
// which stand for the netid "mcc-mnc.default", else for the network of these
// codes that has the address; or by all three, where netid is only the part
// behind the codes.
func (g *global) find(netid, mcc, mnc string, ip netip.Addr) *network {
	codes := mcc + "-" + mnc
	names := []string{codes + ".default", codes}
	if netid != "" {
		names = []string{netid, codes + "." + netid}
	}
	for _, name := range names {
		if n := g.named(name); n != nil {
			return n
		}
	}
	if netid != "" {
		return nil
	}
	var found *network
	for _, n := range g.networks {
		if n.codes() == codes && (found == nil || within(n.Ranges, ip) && !within(found.Ranges, ip)) {
			found = n
		}
	}
	return found
}

func (g *global) named(netid string) *network {
	if i := slices.IndexFunc(g.networks, func(n *network) bool { return n.NetID == netid }); i >= 0 {
		return g.networks[i]
	}
	return nil
}

// netInfo is a network as GET /netinfo/v1 lists it.
type netInfo struct {
	NetID     string   `json:"netid"`
	Codes     string   `json:"mccmnc"`
	Range     any      `json:"range"` // a text, or a list of several
	Protocols []string `json:"protocols,omitempty"`
	Offline   bool     `json:"offline"`
}

func (g *global) info() []netInfo {
	list := make([]netInfo, len(g.networks))
	for i, n := range g.networks {
		list[i] = netInfo{NetID: n.NetID, Codes: n.codes(), Range: n.Ranges, Protocols: n.Protocols, Offline: n.offline()}
		if len(n.Ranges) == 1 {
			list[i].Range = n.Ranges[0].String()
		}
	}
	return list
}
