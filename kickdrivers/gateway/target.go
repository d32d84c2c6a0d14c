package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// target is what is stored: a route of the other node, and where the device
// was when it told it, for that node's drivers to judge.
type target struct {
	From  netip.Addr      `json:"from,omitzero"`
	Route json.RawMessage `json:"route"`
}

const (
	maxRoute = 2 << 10 // bytes
	maxDepth = 3       // of gateways behind gateways
)

// validMember is how the members of a route are called. Decoders take names in
// any case: two spellings would be two targets in one.
var validMember = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// aims are the members of a route that say whom a kick hits, in the drivers of
// this project. A route has at most one of them: of two nobody here knows which
// the other node follows.
var aims = []string{"ip", "token", "endpoint", "msisdn", "client", "id", "to", "label", "route"}

// route is a device's route at the other node, taken apart.
type route struct {
	members map[string]json.RawMessage
	driver  string
	aim     string // the member that is one of aims; empty: none
}

func parseRoute(raw json.RawMessage, depth int) (r route, err error) {
	wrong := func(format string, args ...any) (route, error) {
		return route{}, fmt.Errorf("%w: route: "+format, append([]any{edition.ErrMalformed}, args...)...)
	}
	if len(raw) > maxRoute || depth > maxDepth {
		return wrong("more than %d bytes, or more than %d deep", maxRoute, maxDepth)
	}
	r.members = make(map[string]json.RawMessage)
	err = wire.EachMember(raw, func(name string, value []byte) error {
		if _, twice := r.members[name]; twice || !validMember.MatchString(name) {
			return fmt.Errorf("%w: route: the member %.40q is given twice, or not in lower case", edition.ErrMalformed, name)
		}
		if slices.Contains(aims, name) {
			if r.aim != "" {
				return fmt.Errorf("%w: route: %s and %s cannot both say whom to wake", edition.ErrMalformed, r.aim, name)
			}
			r.aim = name
		}
		canonical, err := compact(value)
		r.members[name] = canonical
		return err
	})
	if err != nil {
		return route{}, err
	}
	if json.Unmarshal(r.members["driver"], &r.driver) != nil || !validName.MatchString(r.driver) {
		return wrong(`it names no driver of the other node, as in {"driver":"udp",…}`)
	}
	if r.aim == "route" {
		if _, err := parseRoute(r.members["route"], depth+1); err != nil {
			return route{}, err
		}
	}
	return r, nil
}

// compact writes a value in the one form that all ways to write it share.
func compact(value []byte) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: route: %w", edition.ErrMalformed, err)
	}
	return json.Marshal(v)
}

// hits is what a kick of this route reaches; see driver.Driver.Aim.
func (r route) hits() string {
	value := r.members[r.aim]
	var text string
	isText := json.Unmarshal(value, &text) == nil
	switch {
	case r.aim == "":
		all, err := json.Marshal(r.members)
		if err != nil {
			return ""
		}
		return string(all)
	case r.aim == "route":
		inner, err := parseRoute(value, 1)
		if err != nil {
			return ""
		}
		return inner.hits()
	case r.aim == "ip" && isText:
		if ip, err := netip.ParseAddr(text); err == nil {
			text = ip.Unmap().WithZone("").String()
		}
		return "ip " + text + " " + string(r.members["port"])
	case r.aim == "msisdn" && isText:
		return "msisdn " + strings.Map(digit, text)
	case isText:
		return r.aim + " " + text
	}
	return r.aim + " " + string(value)
}

func digit(r rune) rune {
	if r < '0' || r > '9' {
		return -1
	}
	return r
}

// parse reads a target, as a device writes it or as it is stored.
func parse(raw json.RawMessage) (target, route, error) {
	var t target
	if err := json.Unmarshal(raw, &t); err != nil || len(t.Route) == 0 {
		return t, route{}, fmt.Errorf(`%w: the target is not an object such as {"route":{"driver":"udp",…}}`, edition.ErrMalformed)
	}
	r, err := parseRoute(t.Route, 1)
	if err != nil {
		return t, route{}, err
	}
	t.Route, err = json.Marshal(r.members)
	return t, r, err
}
