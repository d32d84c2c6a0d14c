package storetest

import (
	"errors"

	"github.com/edition-push/edition"
)

var errTooMany = errors.New("a scan appended more than its limit")

func (f *fixture) wantErr(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("%v, want %v", err, want)
	}
}

var deviceTests = map[string]func(*fixture){
	"registered again": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.state(k, edition.StateNone, 0)
		f.put(k, 5)
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof}))
		f.pending(edition.Direct, k.UAID, event(k, 5))
	},
	"another secret": func(f *fixture) {
		k := f.app(edition.Direct, "")
		other := edition.Proof{2}
		f.wantErr(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: other}), edition.ErrUnauthorized)
		f.wantErr(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: other, Owner: 1}), edition.ErrUnauthorized)
		if a, err := f.s.Agent(k.UAID); err != nil || a.Proof != f.proof || a.Owner != edition.Direct {
			f.Fatal(a, err)
		}
	},
	"agents": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "up")
		a, err := f.s.Agent(k.UAID)
		f.ok(err)
		if a.UAID != k.UAID || a.Proof != f.proof || a.Owner != relay || a.Upstream != "up" || a.Routes != nil || a.Seen.IsZero() {
			f.Fatalf("%+v", a)
		}
		_, err = f.s.Agent(edition.NewUAID())
		f.wantErr(err, edition.ErrNotFound)
	},
	"unregistered": func(f *fixture) {
		k := f.app(edition.Direct, "up")
		l := f.another(k, edition.Direct, "up")
		f.unhurried(func(v edition.Version) bool {
			f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Upstream: "up"}))
			r := f.s.Deliver(one(k, v), edition.Delivery{Grace: aWhile})
			f.ok(f.s.Unregister(f.ctx(), k))
			got := f.result(r)
			if got != stored(v) {
				f.wantResult(got, edition.Result{Outcome: edition.OutcomeGone})
			}
			return got.Outcome == edition.OutcomeGone
		})
		f.put(l, 6)
		f.wantResult(f.put(k, 9), edition.Result{Outcome: edition.OutcomeGone})
		_, err := f.s.State(k)
		f.wantErr(err, edition.ErrGone)
		f.pending(edition.Direct, k.UAID, event(l, 6))
		f.ok(f.s.Unregister(f.ctx(), k))
		f.ok(f.s.Unregister(f.ctx(), edition.Key{UAID: edition.NewUAID(), AppID: k.AppID}))
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Upstream: "up"}))
		f.state(k, edition.StateNone, 0)
		f.wantResult(f.put(k, 1), stored(1))
	},
	"a device roams": func(f *fixture) {
		one, two := f.relay("one", "1"), f.relay("two", "1")
		if one == two || one == edition.Direct || two == edition.Direct {
			f.Fatal("numbers", one, two)
		}
		k := f.app(one, "")
		l := f.another(k, one, "")
		f.put(k, 5)
		f.put(l, 6)
		f.send(one, k, 5)
		f.send(one, l, 6)
		f.ack(one, k, 5, edition.AckStored, cleared)
		for _, to := range []edition.Owner{two, edition.Direct, one} {
			f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Owner: to}))
			f.pending(to, k.UAID, event(k, 5), event(l, 6))
			f.ack(to, k, 5, edition.AckDelivered, ignored) // not sent to this one yet
			for _, other := range []edition.Owner{one, two, edition.Direct} {
				if other != to {
					f.pending(other, k.UAID)
					f.ack(other, l, 6, edition.AckDelivered, ignored)
				}
			}
			r := f.s.Deliver(edition.Update{event(k, 5)}, edition.Delivery{})
			f.wantResult(f.result(r), stored(5))
		}
		r := f.s.Deliver(edition.Update{event(k, 7)}, edition.Delivery{})
		if len(r.Fresh) != 1 || r.Fresh[0] != (edition.Holder{Owner: one, UAID: k.UAID}) {
			f.Fatalf("fresh %v", r.Fresh)
		}
		// Registering through another place moves the device, too.
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: l, Proof: f.proof, Owner: two}))
		f.pending(two, k.UAID, event(k, 7), event(l, 6))
	},
	"bound before it registers": func(f *fixture) {
		u := edition.NewUAID()
		f.wantErr(f.s.Bind(f.ctx(), edition.Agent{UAID: u, Proof: f.proof}), edition.ErrNotFound)
		f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: u, Proof: f.proof, Upstream: "up"}))
		if a, err := f.s.Agent(u); err != nil || a.Proof != f.proof || a.Upstream != "up" {
			f.Fatal(a, err)
		}
		k := edition.Key{UAID: u, AppID: edition.NewAppID()}
		f.wantResult(f.result(f.s.Deliver(one(k, 1), edition.Delivery{Adopt: true})), stored(1))
		f.pending(edition.Direct, u, event(k, 1))
	},
	"identity": func(f *fixture) {
		id := f.s.ID()
		if again := f.s.ID(); id == "" || again != id {
			f.Fatal("no lasting id")
		}
		f.ok(f.s.Err())
	},
}
