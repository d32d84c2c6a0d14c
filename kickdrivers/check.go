package kickdrivers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/edition-push/edition"
)

// maxKick bounds what a device may say about itself, in bytes.
const maxKick = 4 << 10

// Check turns what a device asks for, {"driver":"name",…}, into its route.
// Without a driver the first that accepts the rest is taken. from is the
// address that the device connects from, size the bytes of its request. null
// and nothing ask for no kicks: the zero route.
//
// What a driver refuses is ErrForbidden with a reason that names the rule,
// what makes no sense is ErrMalformed.
func (d *Dispatcher) Check(kick json.RawMessage, from netip.Addr, size int) (edition.Route, error) {
	kick = bytes.TrimSpace(kick)
	if len(kick) == 0 || string(kick) == "null" {
		return edition.Route{}, nil
	}
	if len(kick) > maxKick {
		return edition.Route{}, fmt.Errorf("%w: kick: %d bytes are more than %d", edition.ErrMalformed, len(kick), maxKick)
	}
	var head struct {
		Driver *string `json:"driver"`
	}
	if err := json.Unmarshal(kick, &head); err != nil || kick[0] != '{' {
		return edition.Route{}, fmt.Errorf(`%w: kick is not a JSON object such as {"driver":"udp",…}`, edition.ErrMalformed)
	}
	if head.Driver == nil {
		return d.checkAny(kick, from, size)
	}
	g := d.byName[*head.Driver]
	if g == nil {
		return edition.Route{}, fmt.Errorf("%w: kick: driver %.40q is not one of %q", edition.ErrForbidden, *head.Driver, d.names())
	}
	target, err := g.driver.Check(kick, from, size)
	if err != nil {
		return edition.Route{}, fmt.Errorf("kick: %s: %w", g.name, err)
	}
	return edition.Route{Driver: g.name, Target: target}, nil
}

func (d *Dispatcher) checkAny(kick json.RawMessage, from netip.Addr, size int) (edition.Route, error) {
	if len(d.gates) == 0 {
		return edition.Route{}, fmt.Errorf("%w: kick: no driver is configured here", edition.ErrForbidden)
	}
	kind := edition.ErrMalformed
	var reasons []string
	for _, g := range d.gates {
		target, err := g.driver.Check(kick, from, size)
		if err == nil {
			return edition.Route{Driver: g.name, Target: target}, nil
		}
		if !errors.Is(err, edition.ErrMalformed) {
			kind = edition.ErrForbidden
		}
		reasons = append(reasons, g.name+": "+reasonOf(err))
	}
	return edition.Route{}, fmt.Errorf("%w: kick: %s", kind, strings.Join(reasons, "; "))
}

// reasonOf is what a driver says, without the kind that the whole answer has.
func reasonOf(err error) string {
	reason := err.Error()
	for _, kind := range []error{edition.ErrForbidden, edition.ErrMalformed} {
		reason = strings.TrimPrefix(reason, kind.Error()+": ")
	}
	return reason
}

func (d *Dispatcher) names() []string {
	names := make([]string, len(d.gates))
	for i, g := range d.gates {
		names[i] = g.name
	}
	return names
}
