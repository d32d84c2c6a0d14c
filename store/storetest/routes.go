package storetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/edition-push/edition"
)

func route(driver, target string) edition.Route {
	return edition.Route{Driver: driver, Target: []byte(target)}
}

// set changes routes as a device's own word does.
func set(rs ...edition.Route) func(edition.Routes) edition.Routes {
	return func(old edition.Routes) edition.Routes { return edition.Routes(rs).Over(old) }
}

// routes checks how a party is kicked.
func (f *fixture) routes(h edition.Holder, want ...edition.Route) {
	f.Helper()
	if len(want) > 0 && !f.s.Kickable(h) {
		f.Fatalf("%v has a route and is not kickable", h)
	}
	got, err := f.s.Routes(h)
	f.ok(err)
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", edition.Routes(want)) {
		f.Fatalf("routes %q, want %q", got, want)
	}
	for i := range got {
		if (got[i].Target == nil) != (want[i].Target == nil) {
			f.Fatalf("route %d is gone or not: %q, want %q", i, got[i], want[i])
		}
	}
}

var routeTests = map[string]func(*fixture){
	"routes": func(f *fixture) {
		k := f.app(edition.Direct, "")
		h := edition.Holder{UAID: k.UAID}
		f.routes(h)
		udp, apns := route("udp", `{"ip":"10.0.0.1"}`), route("apns", "1")
		f.ok(f.s.ChangeRoutes(f.ctx(), h, set(udp, apns)))
		f.routes(h, udp, apns)
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof}))
		f.routes(h, udp, apns)
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Routes: edition.Routes{apns}}))
		f.routes(h, apns)
		if a, err := f.s.Agent(k.UAID); err != nil || len(a.Routes) != 1 || !a.Routes[0].Same(apns) {
			f.Fatal(a, err)
		}
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Routes: edition.Routes{}}))
		f.routes(h)
		f.ok(f.s.ChangeRoutes(f.ctx(), h, set(udp)))
		f.ok(f.s.ChangeRoutes(f.ctx(), h, func(edition.Routes) edition.Routes { return nil }))
		f.routes(h)
	},
	"routes of nobody": func(f *fixture) {
		nobody := edition.Holder{UAID: edition.NewUAID()}
		f.routes(nobody)
		f.wantErr(f.s.ChangeRoutes(f.ctx(), nobody, set(route("udp", "1"))), edition.ErrNotFound)
		relay := f.relay("r", "1")
		f.wantErr(f.s.ChangeRoutes(f.ctx(), edition.Holder{Owner: relay + 1}, set(route("udp", "1"))), edition.ErrNotFound)
	},
	"routes of a relay": func(f *fixture) {
		h := edition.Holder{Owner: f.relay("r", "1")}
		f.routes(h)
		udp := route("udp", "1")
		f.ok(f.s.ChangeRoutes(f.ctx(), h, set(udp, route("fcm", "2"))))
		f.routes(h, udp, route("fcm", "2"))
		f.relay("r", "2")
		f.routes(h, udp, route("fcm", "2"))
	},
	"a route that is gone stays until the next registration": func(f *fixture) {
		k := f.app(edition.Direct, "")
		h := edition.Holder{UAID: k.UAID}
		udp, fcm := route("udp", "1"), route("fcm", "2")
		f.ok(f.s.ChangeRoutes(f.ctx(), h, set(fcm, udp)))
		f.ok(f.s.ChangeRoutes(f.ctx(), h, func(old edition.Routes) edition.Routes {
			out, _ := old.Gone(fcm)
			return out
		}))
		f.routes(h, edition.Route{Driver: "fcm"}, udp)
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Routes: edition.Routes{route("fcm", "3"), udp}}))
		f.routes(h, route("fcm", "3"), udp)
	},
	"a route is confirmed once": func(f *fixture) {
		k := f.app(edition.Direct, "")
		h := edition.Holder{UAID: k.UAID}
		first, again := route("sms", "+1"), route("sms", "+1")
		first.Confirm, again.Confirm = "ABCD2345", "ZZZZ9999"
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Routes: edition.Routes{first}}))
		f.routes(h, first)
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Routes: edition.Routes{again}}))
		f.routes(h, first) // the code that is on its way stays valid
		confirm := func(code string) (found bool) {
			f.ok(f.s.ChangeRoutes(f.ctx(), h, func(old edition.Routes) (out edition.Routes) {
				out, found = old.Confirmed(code)
				return out
			}))
			return found
		}
		if confirm("ZZZZ9999") || confirm("") {
			f.Fatal("a wrong code confirms")
		}
		if !confirm("ABCD2345") || confirm("ABCD2345") {
			f.Fatal("the code confirms once")
		}
		f.routes(h, route("sms", "+1"))
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Routes: edition.Routes{again}}))
		f.routes(h, route("sms", "+1"))
		other := route("sms", "+2")
		other.Confirm = "ZZZZ9999"
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Routes: edition.Routes{other}}))
		f.routes(h, other)
	},
	"changes of routes do not overtake each other": func(f *fixture) {
		k := f.app(edition.Direct, "")
		for _, h := range []edition.Holder{{UAID: k.UAID}, {Owner: f.relay("r", "1")}} {
			ctx := f.ctx()
			var wg sync.WaitGroup
			const n = 20
			for range n {
				wg.Go(func() {
					err := f.s.ChangeRoutes(ctx, h, func(old edition.Routes) edition.Routes {
						return append(slices.Clip(old), route("udp", "1"))
					})
					if err != nil {
						f.Error(err)
					}
				})
			}
			wg.Wait()
			if rs, err := f.s.Routes(h); err != nil || len(rs) != n {
				f.Fatalf("%d changes of %d: %v", len(rs), n, err)
			}
		}
	},
}
