package edition_test

import (
	"fmt"
	"testing"

	"github.com/edition-push/edition"
)

func route(driver, target, code string) edition.Route {
	r := edition.Route{Driver: driver, Confirm: code}
	if target != "" {
		r.Target = []byte(target)
	}
	return r
}

func text(rs edition.Routes) string {
	out := ""
	for _, r := range rs {
		out += fmt.Sprintf("%s(%s)%s ", r.Driver, r.Target, r.Confirm)
	}
	return out
}

func TestRouteUsable(t *testing.T) {
	for _, tt := range []struct {
		route edition.Route
		want  bool
	}{
		{edition.Route{}, false},
		{route("udp", "1", ""), true},
		{route("udp", "", ""), false},
		{route("udp", "1", "CODE"), false},
	} {
		if got := tt.route.Usable(); got != tt.want {
			t.Errorf("%+v: usable %v", tt.route, got)
		}
	}
	if (edition.Routes{route("fcm", "", ""), route("sms", "1", "CODE")}).Usable() {
		t.Error("none of these can be used")
	}
	if !(edition.Routes{route("fcm", "", ""), route("udp", "1", "")}).Usable() {
		t.Error("the second can be used")
	}
}

// Each change returns routes of its own: readers may still have the old ones.
func TestRoutesChange(t *testing.T) {
	old := edition.Routes{route("udp", "1", ""), route("sms", "+1", "OLD"), route("fcm", "", "")}
	was := text(old)
	for _, tt := range []struct {
		name string
		got  edition.Routes
		want string
	}{
		{"nothing in place of old ones", edition.Routes{}.Over(old), ""},
		{
			"confirmed stays confirmed, a code stays valid, others wait",
			edition.Routes{route("sms", "+1", "NEW"), route("udp", "1", "NEW"), route("udp", "2", "NEW"), route("apns", "1", "NEW")}.Over(old),
			"sms(+1)OLD udp(1) udp(2)NEW apns(1)NEW ",
		},
		{"one that needs no code any more", edition.Routes{route("sms", "+1", "")}.Over(old), "sms(+1) "},
		{"another driver's confirmation counts for nothing", edition.Routes{route("udp6", "1", "NEW")}.Over(old), "udp6(1)NEW "},
	} {
		if got := text(tt.got); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	gone, ok := old.Gone(route("udp", "1", ""))
	if !ok || text(gone) != "udp() sms(+1)OLD fcm() " || gone[0].Target != nil {
		t.Error("gone:", ok, text(gone))
	}
	if same, ok := old.Gone(route("udp", "2", "")); ok || text(same) != was {
		t.Error("a route that was replaced is not gone:", ok, text(same))
	}
	confirmed, ok := old.Confirmed("OLD")
	if !ok || text(confirmed) != "udp(1) sms(+1) fcm() " {
		t.Error("confirmed:", ok, text(confirmed))
	}
	for _, code := range []string{"", "NEW", "old"} {
		if _, ok := old.Confirmed(code); ok {
			t.Errorf("the code %q confirms", code)
		}
	}
	if text(old) != was {
		t.Error("the old routes have changed:", text(old))
	}
}
