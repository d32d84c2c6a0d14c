package peer

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/session"
)

// Wakeup is how a hello says that a datagram wakes the device: as Firefox OS
// said it to the carriers' servers. Field names match without regard to case.
type Wakeup struct {
	HostPort json.RawMessage `json:"wakeup_hostport"` // {"ip", "port"}
	Network  json.RawMessage `json:"mobilenetwork"`   // {"mcc", "mnc", "netid"}
	Protocol json.RawMessage `json:"protocol"`        // "udp", or "tcp"
}

// target is a kick of edition.v1.
type target struct {
	IP    string `json:"ip"`
	Port  int    `json:"port"`
	Proto string `json:"proto,omitempty"`
	NetID string `json:"netid,omitempty"`
	MCC   string `json:"mcc,omitempty"`
	MNC   string `json:"mnc,omitempty"`
}

// kicks returns the kicks that a hello may mean, the most exact first; none
// when it does not say how the device is woken. A network that is named is
// looked for by both names, then by each. Without its name the operator's other
// rules say enough of the very address that the device connects from, and of
// no other: private addresses are the same in many networks.
func (w *Wakeup) kicks(from netip.Addr) (all []target) {
	var at, network map[string]json.RawMessage
	if !Read(w.HostPort, &at) || !Read(w.Network, &network) {
		return nil
	}
	t := target{IP: word(at, "ip"), Proto: protocol(w.Protocol)}
	ip, err := netip.ParseAddr(t.IP)
	port, perr := strconv.Atoi(word(at, "port"))
	if err != nil || perr != nil {
		return nil
	}
	t.Port = port
	netid, mcc, mnc := word(network, "netid"), word(network, "mcc"), word(network, "mnc")
	if len(mnc) == 1 {
		mnc = "0" + mnc
	}
	named := func(netid, mcc, mnc string) {
		t.NetID, t.MCC, t.MNC = netid, mcc, mnc
		all = append(all, t)
	}
	codes := mcc != "" && mnc != ""
	if codes && netid != "" {
		named(netid, mcc, mnc)
	}
	if netid != "" {
		named(netid, "", "")
	}
	if codes {
		named("", mcc, mnc)
	}
	if ip.Unmap() == from {
		named("", "", "")
	}
	return all
}

// word reads a member that is a string or a number.
func word(m map[string]json.RawMessage, name string) string {
	for n, raw := range m {
		if !strings.EqualFold(n, name) || Absent(raw) {
			continue
		}
		if s, ok := Text(raw); ok {
			return s
		}
		if c := raw[0]; c >= '0' && c <= '9' {
			return string(raw)
		}
	}
	return ""
}

// protocol reads "udp" or "tcp", also as 1 and 2, which is how the carriers'
// wake-up servers number them.
func protocol(raw json.RawMessage) string {
	s, ok := Text(raw)
	if !ok {
		s = string(raw)
	}
	switch strings.ToLower(s) {
	case "tcp", "tcpv4", "2":
		return "tcp"
	}
	return "udp"
}

// Routes returns how the device is woken, none when it cannot be: it does not
// say, or the operator does not allow what it says, which is no reason to turn
// it away. size is that of the hello.
func (w *Wakeup) Routes(d *session.Device, size int) edition.Routes {
	var last error
	for _, t := range w.kicks(d.Remote()) {
		kick, err := json.Marshal(t)
		if err != nil {
			continue
		}
		routes, err := d.Routes(kick, size)
		if err == nil {
			return routes
		}
		last = err
	}
	if last != nil {
		d.Log().Debug("a device cannot be woken as it asks", "remote", d.Remote(), "err", last)
	}
	return edition.Routes{}
}
