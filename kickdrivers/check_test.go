package kickdrivers_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

var from = netip.MustParseAddr("192.0.2.1")

func TestCheck(t *testing.T) {
	two := func(*kickdrivers.Policy) {}
	bubble(t, func(r *rig) {
		for _, c := range []struct {
			kick   string
			driver string // of the route
			err    error
			says   string
		}{
			{kick: ``},
			{kick: `null`},
			{kick: `{"driver":"one","to":"7"}`, driver: "one"},
			{kick: `{"driver":"two","to":"7"}`, driver: "two"},
			{kick: `{"to":"7"}`, driver: "one"},
			{kick: `{"to":"7","err":"one"}`, driver: "two"}, // the first that accepts
			{kick: `{"to":"7","err":"forbidden"}`, err: edition.ErrForbidden, says: "one: not allowed; two: not allowed"},
			{kick: `{"to":"7","err":"malformed"}`, err: edition.ErrMalformed, says: "one: malformed; two: malformed"},
			{kick: `{"driver":"two","err":"forbidden"}`, err: edition.ErrForbidden, says: "two: "},
			{kick: `{"driver":"six"}`, err: edition.ErrForbidden, says: `"six" is not one of ["one" "two"]`},
			{kick: `{"driver":""}`, err: edition.ErrForbidden},
			{kick: `{"driver":7}`, err: edition.ErrMalformed},
			{kick: `[]`},
			{kick: `"udp"`, err: edition.ErrMalformed},
			{kick: `{"driver":"one"`, err: edition.ErrMalformed},
			{kick: `{"driver":"one"} x`, err: edition.ErrMalformed},
			{kick: `{"x":"` + strings.Repeat("x", 5000) + `"}`, err: edition.ErrMalformed, says: "more than 4096"},
		} {
			routes, err := r.d.Check(json.RawMessage(c.kick), netip.Addr{}, 100)
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("Check(%.60s): error %v, want %v saying %q", c.kick, err, c.err, c.says)
			}
			var want edition.Routes
			if c.driver != "" {
				want = edition.Routes{{Driver: c.driver, Target: json.RawMessage("7")}}
			}
			if err == nil && !slices.EqualFunc(routes, want, edition.Route.Same) {
				t.Errorf("Check(%.60s) = %v, want %v", c.kick, routes, want)
			}
		}
	}, two, two)
}

func TestCheckWithoutDrivers(t *testing.T) {
	d, err := kickdrivers.New(kickdrivers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kick := range []string{`{}`, `{"driver":"udp"}`} {
		if _, err := d.Check(json.RawMessage(kick), netip.Addr{}, 100); !errors.Is(err, edition.ErrForbidden) {
			t.Errorf("Check(%s): %v, want ErrForbidden", kick, err)
		}
	}
}
