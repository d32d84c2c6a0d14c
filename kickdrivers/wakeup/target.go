package wakeup

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/edition-push/edition"
)

// target is where one device listens, as a device writes it and as it is
// stored: then the network is called what the platform calls it.
type target struct {
	IP    netip.Addr `json:"ip"`
	Port  int64      `json:"port"`
	Proto string     `json:"proto,omitempty"` // stored: "udp" or "tcp"
	NetID string     `json:"netid,omitempty"`
	MCC   string     `json:"mcc,omitempty"`
	MNC   string     `json:"mnc,omitempty"`
}

// parse reads a target. What makes no sense is edition.ErrMalformed.
func parse(raw json.RawMessage) (target, error) {
	var t target
	wrong := func(format string, args ...any) (target, error) {
		return target{}, fmt.Errorf("%w: "+format, append([]any{edition.ErrMalformed}, args...)...)
	}
	if err := json.Unmarshal(raw, &t); err != nil || !t.IP.IsValid() {
		return wrong(`the target is not an object such as {"ip":"10.1.2.3","port":4000,"netid":"lab-1"}`)
	}
	if t.IP.Zone() != "" {
		return wrong("ip %s has a zone", t.IP)
	}
	t.IP = t.IP.Unmap()
	if t.Proto == "" {
		t.Proto = "udp"
	}
	switch {
	case t.Port < 1 || t.Port > 65535:
		return wrong("port %d is not between 1 and 65535", t.Port)
	case t.Proto != "udp" && t.Proto != "tcp":
		return wrong("proto %.20q is not udp or tcp", t.Proto)
	case t.NetID == "" && t.MCC == "" && t.MNC == "":
		return wrong("the target names no network: it needs netid, or mcc and mnc")
	case t.NetID != "" && !validNetID.MatchString(t.NetID):
		return wrong("netid %.40q is not 1 to 128 of A-Z a-z 0-9 . _ : @ -", t.NetID)
	case (t.MCC != "" || t.MNC != "") && (!validMCC.MatchString(t.MCC) || !validMNC.MatchString(t.MNC)):
		return wrong("mcc %.10q and mnc %.10q are not three digits and two or three", t.MCC, t.MNC)
	}
	return t, nil
}

// codes is "mcc-mnc", or empty.
func (t *target) codes() string {
	if t.MCC == "" {
		return ""
	}
	return t.MCC + "-" + t.MNC
}

// allow returns the network of a target that may be kicked. Otherwise the
// error is edition.ErrForbidden, with the rule.
func (d *Driver) allow(known table, t *target) (*network, error) {
	n, err := known.find(t.NetID, t.codes(), t.IP)
	if err != nil {
		return nil, err
	}
	switch {
	case !n.holds(t.IP):
		return nil, fmt.Errorf("%w: %s lies outside the network %s", edition.ErrForbidden, t.IP, n.name())
	case n.several(t.IP):
		return nil, fmt.Errorf("%w: %s is not one host's address", edition.ErrForbidden, t.IP)
	case t.Port < int64(d.low) || t.Port > int64(d.high):
		return nil, fmt.Errorf("%w: port %d is not in %d-%d", edition.ErrForbidden, t.Port, d.low, d.high)
	case len(n.protocols) > 0 && !slices.Contains(n.protocols, t.Proto):
		return nil, fmt.Errorf("%w: the network %s does not take %s", edition.ErrForbidden, n.name(), t.Proto)
	}
	return n, nil
}

// aim is what is hit: the address in its network, for carriers use the same
// private addresses.
func (t *target) aim() string {
	return netip.AddrPortFrom(t.IP, uint16(t.Port)).String() + "@" + cmp.Or(t.NetID, t.codes())
}

// form is the body of a request. The network is called by its netid; by codes
// where only the operator has named it, and so.
func (t *target) form(n *network, confirm string) url.Values {
	v := url.Values{"ip": {t.IP.String()}, "port": {strconv.FormatInt(t.Port, 10)}, "proto": {t.Proto}}
	if mcc, mnc, ok := strings.Cut(n.codes, "-"); n.netid == "" && ok {
		v.Set("mcc", mcc)
		v.Set("mnc", mnc)
	} else {
		v.Set("netid", n.netid)
	}
	if confirm != "" {
		v.Set("confirm", confirm)
	}
	return v
}
