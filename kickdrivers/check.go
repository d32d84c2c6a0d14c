package kickdrivers

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/edition-push/edition"
)

// maxKick bounds what a device may say about itself, in bytes.
const maxKick = 4 << 10

// Check turns what a device asks for, {"driver":"name",…} or a list of up to
// edition.MaxRoutes of these, into its routes. All of them are accepted, or
// none. Without a driver the first entry that accepts the rest is taken. from
// is the address that the device connects from, size the bytes of its request:
// no more than so many are ever sent for it, to all its routes together. null
// and an empty list ask for no kicks: routes that are empty and not nil.
//
// A route whose entry has confirm set comes with a fresh code, see Challenge.
// What a driver refuses is ErrForbidden with a reason that names the rule,
// what makes no sense is ErrMalformed.
func (d *Dispatcher) Check(kick json.RawMessage, from netip.Addr, size int) (edition.Routes, error) {
	kick = bytes.TrimSpace(kick)
	if len(kick) == 0 {
		return nil, nil
	}
	if len(kick) > maxKick {
		return nil, fmt.Errorf("%w: kick: %d bytes are more than %d", edition.ErrMalformed, len(kick), maxKick)
	}
	if string(kick) == "null" {
		return edition.Routes{}, nil
	}
	list := []json.RawMessage{kick}
	if kick[0] == '[' {
		if err := json.Unmarshal(kick, &list); err != nil {
			return nil, errKick("kick")
		}
	}
	if len(list) > edition.MaxRoutes {
		return nil, fmt.Errorf("%w: kick: %d routes are more than %d", edition.ErrMalformed, len(list), edition.MaxRoutes)
	}
	gates := d.hold()
	defer d.letGo(gates)
	routes := make(edition.Routes, 0, len(list))
	for i, one := range list {
		where := "kick"
		if kick[0] == '[' {
			where = fmt.Sprintf("kick[%d]", i)
		}
		g, target, err := checkOne(gates, where, one, from, size/len(list))
		if err != nil {
			return nil, err
		}
		r := edition.Route{Driver: g.name, Target: target}
		if slices.ContainsFunc(routes, r.Same) {
			continue
		}
		if g.confirm {
			r.Confirm = newCode()
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// newCode returns 8 letters and digits that nobody can guess: 40 bits.
func newCode() string { return rand.Text()[:8] }

func errKick(where string) error {
	return fmt.Errorf(`%w: %s is not a JSON object such as {"driver":"udp",…}`, edition.ErrMalformed, where)
}

// held is a gate whose driver cannot be closed meanwhile.
type held struct {
	*gate
	confirm bool // of its policy
}

// hold returns all gates, to be let go of.
func (d *Dispatcher) hold() []held {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]held, len(d.gates))
	for i, g := range d.gates {
		g.users++
		all[i] = held{g, g.policy.Confirm}
	}
	return all
}

func (d *Dispatcher) letGo(all []held) {
	for _, g := range all {
		d.release(g.gate)
	}
}

// checkOne finds the gate for one object, and its target there.
func checkOne(gates []held, where string, kick json.RawMessage, from netip.Addr, size int) (held, json.RawMessage, error) {
	var head struct {
		Driver *string `json:"driver"`
	}
	if err := json.Unmarshal(kick, &head); err != nil || kick[0] != '{' {
		return held{}, nil, errKick(where)
	}
	if head.Driver == nil {
		return checkAny(gates, where, kick, from, size)
	}
	for _, g := range gates {
		if g.name == *head.Driver {
			target, err := g.driver.Check(kick, from, size)
			if err != nil {
				return held{}, nil, fmt.Errorf("%s: %s: %w", where, g.name, err)
			}
			return g, target, nil
		}
	}
	return held{}, nil, fmt.Errorf("%w: %s: driver %.40q is not one of %q", edition.ErrForbidden, where, *head.Driver, names(gates))
}

func checkAny(gates []held, where string, kick json.RawMessage, from netip.Addr, size int) (held, json.RawMessage, error) {
	if len(gates) == 0 {
		return held{}, nil, fmt.Errorf("%w: %s: no driver is configured here", edition.ErrForbidden, where)
	}
	kind := edition.ErrMalformed
	var reasons []string
	for _, g := range gates {
		target, err := g.driver.Check(kick, from, size)
		if err == nil {
			return g, target, nil
		}
		if !errors.Is(err, edition.ErrMalformed) {
			kind = edition.ErrForbidden
		}
		reasons = append(reasons, g.name+": "+reasonOf(err))
	}
	return held{}, nil, fmt.Errorf("%w: %s: %s", kind, where, strings.Join(reasons, "; "))
}

// reasonOf is what a driver says, without the kind that the whole answer has.
func reasonOf(err error) string {
	reason := err.Error()
	for _, kind := range []error{edition.ErrForbidden, edition.ErrMalformed} {
		reason = strings.TrimPrefix(reason, kind.Error()+": ")
	}
	return reason
}

func names(gates []held) []string {
	all := make([]string, len(gates))
	for i, g := range gates {
		all[i] = g.name
	}
	return all
}

// Wakeable reports whether one of the routes could be used now to wake a
// device that has closed its connection for it: by an entry of the driver udp
// or wakeup that the configuration allows it, and whose provider works.
func (d *Dispatcher) Wakeable(routes edition.Routes) bool {
	if !routes.Usable() {
		return false
	}
	gates := d.hold()
	defer d.letGo(gates)
	for _, r := range routes {
		for _, g := range gates {
			if g.name == r.Driver && r.Usable() && (g.kind == "udp" || g.kind == "wakeup") && d.shows(g.gate, r) {
				return true
			}
		}
	}
	return false
}
