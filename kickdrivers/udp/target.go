package udp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/edition-push/edition"
)

// target is where one device listens.
type target struct {
	ip   netip.Addr // never IPv4 in IPv6 form, never with a zone
	port uint16
	tcp  bool
	own  bool // the device registered it from this very address

	// The network that the device named, if it did: by netid, or by mcc
	// and mnc.
	netid, mcc, mnc string
}

// form is a target as JSON. A device writes it, and the driver, which adds
// own; what a device says about own is not read.
type form struct {
	IP    *string `json:"ip"`
	Port  *int64  `json:"port"`
	Proto string  `json:"proto,omitempty"`
	Own   bool    `json:"own,omitempty"`
	NetID string  `json:"netid,omitempty"`
	MCC   string  `json:"mcc,omitempty"`
	MNC   string  `json:"mnc,omitempty"`
}

// parseAsked reads what a device asks for. What makes no sense is
// ErrMalformed; a target that is well formed but can never be allowed is
// ErrForbidden.
func parseAsked(raw json.RawMessage, from netip.Addr) (target, error) {
	var f form
	if err := json.Unmarshal(raw, &f); err != nil {
		return target{}, fmt.Errorf(`%w: the target is not an object such as {"ip":"10.1.2.3","port":4000}: %w`, edition.ErrMalformed, err)
	}
	t, err := f.target()
	if err != nil {
		return target{}, err
	}
	t.own = from.IsValid() && t.ip == from.Unmap().WithZone("")
	return t, nil
}

func (f *form) target() (target, error) {
	if f.IP == nil || f.Port == nil {
		return target{}, fmt.Errorf("%w: the target needs ip and port", edition.ErrMalformed)
	}
	ip, err := netip.ParseAddr(*f.IP)
	if err != nil {
		return target{}, fmt.Errorf("%w: ip %.60q is not an IP address", edition.ErrMalformed, *f.IP)
	}
	t := target{ip: ip.Unmap(), netid: f.NetID, mcc: f.MCC, mnc: f.MNC}
	switch {
	case ip.Zone() != "":
		return t, fmt.Errorf("%w: ip %.60q has a zone", edition.ErrForbidden, *f.IP)
	case *f.Port == 0:
		return t, fmt.Errorf("%w: port 0 cannot be sent to", edition.ErrForbidden)
	case *f.Port < 0 || *f.Port > 65535:
		return t, fmt.Errorf("%w: port %d is not between 1 and 65535", edition.ErrMalformed, *f.Port)
	case f.Proto != "" && f.Proto != "udp" && f.Proto != "tcp":
		return t, fmt.Errorf("%w: proto %.20q is not udp or tcp", edition.ErrMalformed, f.Proto)
	case (f.MCC != "" || f.MNC != "") && (!validMCC.MatchString(f.MCC) || !validMNC.MatchString(f.MNC)):
		return t, fmt.Errorf("%w: mcc %.10q and mnc %.10q are not three digits and two or three", edition.ErrMalformed, f.MCC, f.MNC)
	case len(f.NetID) > maxNetID:
		return t, fmt.Errorf("%w: netid is longer than %d bytes", edition.ErrMalformed, maxNetID)
	}
	t.port, t.tcp = uint16(*f.Port), f.Proto == "tcp"
	return t, nil
}

const maxNetID = 128

// network is how the device named its network.
func (t *target) network() string {
	if t.netid != "" {
		return strconv.Quote(t.netid)
	}
	return t.mcc + "-" + t.mnc
}

// stored is the form that the driver gives to the store.
func (t *target) stored() (json.RawMessage, error) {
	ip, port, proto := t.ip.String(), int64(t.port), "udp"
	if t.tcp {
		proto = "tcp"
	}
	return json.Marshal(form{IP: &ip, Port: &port, Proto: proto, Own: t.own, NetID: t.netid, MCC: t.mcc, MNC: t.mnc})
}

// parseStored reads what stored wrote. The usual form, without a network's
// name, is read by hand: it is on the path of every kick.
func parseStored(raw json.RawMessage) (target, error) {
	if t, ok := parseUsual(raw); ok {
		return t, nil
	}
	var f form
	if err := json.Unmarshal(raw, &f); err != nil {
		return target{}, fmt.Errorf("%w: %w", edition.ErrMalformed, err)
	}
	t, err := f.target()
	t.own = f.Own
	return t, err
}

var (
	usualIP   = []byte(`{"ip":"`)
	usualPort = []byte(`","port":`)
	usualUDP  = []byte(`,"proto":"udp"`)
	usualTCP  = []byte(`,"proto":"tcp"`)
	usualOwn  = []byte(`,"own":true`)
)

func parseUsual(b []byte) (t target, ok bool) {
	if b, ok = bytes.CutPrefix(b, usualIP); !ok {
		return t, false
	}
	end := bytes.IndexByte(b, '"')
	if end < 0 {
		return t, false
	}
	if t.ip, ok = parseIP(b[:end]); !ok {
		return t, false
	}
	if b, ok = bytes.CutPrefix(b[end:], usualPort); !ok {
		return t, false
	}
	n, port := 0, 0
	for n < len(b) && n < 5 && '0' <= b[n] && b[n] <= '9' {
		port = port*10 + int(b[n]-'0')
		n++
	}
	if n == 0 || b[0] == '0' || port > 65535 {
		return t, false
	}
	t.port = uint16(port)
	b = b[n:]
	if rest, udp := bytes.CutPrefix(b, usualUDP); udp {
		b = rest
	} else if rest, tcp := bytes.CutPrefix(b, usualTCP); tcp {
		b, t.tcp = rest, true
	} else {
		return t, false
	}
	if b, ok = bytes.CutPrefix(b, usualOwn); ok {
		t.own = true
	}
	return t, string(b) == "}"
}

// parseIP reads an address as it is stored: not mapped, and without a zone.
func parseIP(b []byte) (netip.Addr, bool) {
	if len(b) > 39 {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(string(b)) // does not escape: no allocation
	return ip, err == nil && ip.Zone() == "" && !ip.Is4In6()
}
