package edition

import (
	"bytes"
	"encoding/json"
	"slices"
)

// MaxRoutes is how many ways to be woken a party may have.
const MaxRoutes = 4

// Route says how to kick one party in one way: the name of a driver in the
// operator's list, and what the party told about itself, checked by that
// driver.
type Route struct {
	Driver string
	// Target is nil when the driver has said that it is gone. Such a route is
	// kept so that the device can be told when it is back.
	Target json.RawMessage
	// Confirm, if not empty, is the code that was kicked to the target and
	// that the device has to repeat before the route is used.
	Confirm string
}

// Usable reports whether the route may be used to wake the party.
func (r Route) Usable() bool { return r.Target != nil && r.Confirm == "" }

// Same reports whether two routes have the same driver and target.
func (r Route) Same(o Route) bool { return r.Driver == o.Driver && bytes.Equal(r.Target, o.Target) }

// Routes are the ways to kick one party, in the order in which they are tried.
type Routes []Route

// Usable reports whether one of the routes is.
func (rs Routes) Usable() bool { return slices.ContainsFunc(rs, Route.Usable) }

// Over returns rs as they are to be stored in place of old ones: what was
// confirmed stays so, and a code that is on its way stays valid.
func (rs Routes) Over(old Routes) Routes {
	out := slices.Clone(rs)
	for i := range out {
		if out[i].Confirm == "" || out[i].Target == nil {
			continue
		}
		if at := slices.IndexFunc(old, out[i].Same); at >= 0 {
			out[i].Confirm = old[at].Confirm
		}
	}
	return out
}

// Gone returns rs with one route marked as gone, and whether it was there.
func (rs Routes) Gone(gone Route) (Routes, bool) {
	at := slices.IndexFunc(rs, gone.Same)
	if at < 0 {
		return rs, false
	}
	out := slices.Clone(rs)
	out[at] = Route{Driver: gone.Driver}
	return out, true
}

// Confirmed returns rs with the routes confirmed that wait for code, and
// whether there were any.
func (rs Routes) Confirmed(code string) (Routes, bool) {
	out, found := slices.Clone(rs), false
	for i := range out {
		if code != "" && out[i].Confirm == code {
			out[i].Confirm, found = "", true
		}
	}
	return out, found
}
