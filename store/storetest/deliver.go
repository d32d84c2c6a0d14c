package storetest

import (
	"slices"
	"time"

	"github.com/edition-push/edition"
)

// aWhile is a grace that does not end within a test.
const aWhile = time.Hour

// overtaken reports whether an ack has come before the commit of version v,
// which else is stored, or has been with a greater one.
func (f *fixture) overtaken(r *edition.Receipt, v edition.Version) bool {
	f.Helper()
	got := f.result(r)
	if got.Outcome == edition.OutcomeStored {
		if got.Version < v || got.Superseded != (got.Version > v) {
			f.Fatalf("result %+v of version %d", got, v)
		}
		return false
	}
	f.wantResult(got, delivered(v))
	return true
}

var deliverTests = map[string]func(*fixture){
	"stored, visible and fresh": func(f *fixture) {
		k := f.app(edition.Direct, "")
		r := f.s.Deliver(one(k, 5), edition.Delivery{})
		if len(r.Fresh) != 1 || r.Fresh[0] != (edition.Holder{UAID: k.UAID}) {
			f.Fatalf("fresh %v", r.Fresh)
		}
		f.pending(edition.Direct, k.UAID, event(k, 5))
		f.wantResult(f.result(r), stored(5))
		f.state(k, edition.StatePending, 5)
	},
	"version zero": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.wantResult(f.put(k, 0), stored(0))
		f.pending(edition.Direct, k.UAID, event(k, 0))
		f.send(edition.Direct, k, 0)
		f.ack(edition.Direct, k, 0, edition.AckDelivered, cleared)
		f.wantResult(f.put(k, 0), delivered(0))
		f.wantResult(f.put(k, edition.MaxVersion), stored(edition.MaxVersion))
	},
	"the greatest wins": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.put(k, 5)
		f.wantResult(f.put(k, 7), stored(7))
		r := f.s.Deliver(one(k, 6), edition.Delivery{})
		if len(r.Fresh) != 0 {
			f.Fatalf("a lower version is fresh: %v", r.Fresh)
		}
		f.wantResult(f.result(r), superseded(7))
		f.wantResult(f.put(k, 7), stored(7))
		f.pending(edition.Direct, k.UAID, event(k, 7))
	},
	"a lower or equal one waits for the pending one": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.unhurried(func(v edition.Version) bool {
			first := f.s.Deliver(one(k, v+7), edition.Delivery{Grace: aWhile})
			lower := f.s.Deliver(one(k, v+6), edition.Delivery{Grace: aWhile})
			equal := f.s.Deliver(one(k, v+7), edition.Delivery{Grace: aWhile})
			if len(lower.Fresh)+len(equal.Fresh) > 0 {
				f.Fatal("what changes nothing is fresh")
			}
			waited := !isDone(first) && !isDone(lower) && !isDone(equal)
			now := f.s.Deliver(one(k, v+5), edition.Delivery{})
			f.wantResult(f.result(now), superseded(v+7))
			f.wantResult(f.result(first), stored(v+7))
			f.wantResult(f.result(lower), superseded(v+7))
			f.wantResult(f.result(equal), stored(v+7))
			return waited
		})
	},
	"an ack overtakes the commit": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.unhurried(func(v edition.Version) bool {
			six := f.s.Deliver(one(k, v+6), edition.Delivery{Grace: aWhile})
			seven := f.s.Deliver(one(k, v+7), edition.Delivery{Grace: aWhile})
			f.send(edition.Direct, k, v+7)
			f.ack(edition.Direct, k, v+7, edition.AckDelivered, cleared)
			overtaken := f.overtaken(six, v+6)
			overtaken = f.overtaken(seven, v+7) && overtaken
			f.state(k, edition.StateDelivered, v+7)
			return overtaken
		})
	},
	"an ack overtakes the commit of what it names only": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.unhurried(func(v edition.Version) bool {
			six := f.s.Deliver(one(k, v+6), edition.Delivery{Grace: aWhile})
			f.send(edition.Direct, k, v+6)
			seven := f.s.Deliver(one(k, v+7), edition.Delivery{Grace: aWhile})
			f.ack(edition.Direct, k, v+6, edition.AckDelivered, late)
			overtaken := f.overtaken(six, v+6)
			waits := !isDone(seven)
			f.pending(edition.Direct, k.UAID, event(k, v+7))
			if !waits {
				f.wantResult(f.result(seven), stored(v+7))
			}
			return overtaken && waits
		})
	},
	"the grace ends": func(f *fixture) {
		k := f.app(edition.Direct, "")
		r := f.s.Deliver(one(k, 7), edition.Delivery{Grace: 20 * time.Millisecond})
		f.wantResult(f.result(r), stored(7))
	},
	"delivered stays delivered": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.put(k, 7)
		f.send(edition.Direct, k, 7)
		f.ack(edition.Direct, k, 7, edition.AckDelivered, cleared)
		for _, v := range []edition.Version{7, 6} {
			r := f.s.Deliver(one(k, v), edition.Delivery{})
			if len(r.Fresh) > 0 {
				f.Fatal("a delivered version is fresh")
			}
			f.wantResult(f.result(r), delivered(v))
		}
		f.pending(edition.Direct, k.UAID)
		f.wantResult(f.put(k, 8), stored(8))
	},
	"gone": func(f *fixture) {
		k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
		f.wantResult(f.put(k, 1), edition.Result{Outcome: edition.OutcomeGone})
		known := f.app(edition.Direct, "")
		known.AppID = edition.NewAppID()
		f.wantResult(f.put(known, 1), edition.Result{Outcome: edition.OutcomeGone})
	},
	"adopted or refused": func(f *fixture) {
		known := f.app(edition.Direct, "up")
		known.AppID = edition.NewAppID()
		r := f.s.Deliver(one(known, 3), edition.Delivery{Adopt: true})
		f.wantResult(f.result(r), stored(3))
		f.pending(edition.Direct, known.UAID, event(known, 3))
		unknown := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
		r = f.s.Deliver(one(unknown, 3), edition.Delivery{Adopt: true})
		f.wantResult(f.result(r), edition.Result{Outcome: edition.OutcomeRefused})
	},
	"from another upstream": func(f *fixture) {
		theirs, own := f.app(edition.Direct, "up"), f.app(edition.Direct, "")
		foreign := edition.Result{Outcome: edition.OutcomeRefused, Err: edition.ErrForbidden}
		from := func(k edition.Key, upstream string) edition.Result {
			return f.result(f.s.Deliver(one(k, 3), edition.Delivery{Adopt: true, Upstream: upstream}))
		}
		f.wantResult(from(theirs, "other"), foreign)
		f.wantResult(from(own, "up"), foreign)
		f.wantResult(from(edition.Key{UAID: theirs.UAID, AppID: edition.NewAppID()}, "other"), foreign)
		f.pending(edition.Direct, theirs.UAID)
		f.wantResult(from(theirs, "up"), stored(3))
		stranger := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
		f.wantResult(from(stranger, "up"), edition.Result{Outcome: edition.OutcomeRefused})
	},
	"the store makes the version": func(f *fixture) {
		k := f.app(edition.Direct, "")
		before := edition.Version(time.Now().UnixMilli())
		made := f.result(f.s.Deliver(one(k, 0), edition.Delivery{Make: true})).Version
		if after := edition.Version(time.Now().UnixMilli()); made < before || made > after {
			f.Fatalf("made %d between %d and %d", made, before, after)
		}
		const future = 1 << 60
		f.put(k, future)
		r := f.s.Deliver(one(k, 0), edition.Delivery{Make: true})
		f.wantResult(f.result(r), stored(future+1))
		f.send(edition.Direct, k, future+1)
		f.ack(edition.Direct, k, future+1, edition.AckDelivered, cleared)
		f.wantResult(f.result(f.s.Deliver(one(k, 0), edition.Delivery{Make: true})), stored(future+2))
	},
	"a whole update": func(f *fixture) {
		var u edition.Update
		for range 300 {
			u = append(u, event(edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}, 9))
		}
		u = u.Normalize()
		f.register(u, edition.Direct, "")
		gone := event(edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}, 1)
		r := f.s.Deliver(append(slices.Clip(u), gone), edition.Delivery{})
		rs, err := r.Wait(f.ctx())
		f.ok(err)
		for i := range u {
			f.wantResult(rs[i], stored(9))
			f.pending(edition.Direct, u[i].UAID, u[i])
		}
		f.wantResult(rs[len(u)], edition.Result{Outcome: edition.OutcomeGone})
		if len(r.Fresh) != len(u) {
			f.Fatalf("%d fresh of %d", len(r.Fresh), len(u))
		}
	},
	"a whole update, acknowledged at once": func(f *fixture) {
		var u edition.Update
		for range 50 {
			u = append(u, event(edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}, 0))
		}
		u = u.Normalize()
		f.register(u, edition.Direct, "")
		for round := range edition.Version(50) {
			for i := range u {
				u[i].Version = round
			}
			r := f.s.Deliver(u, edition.Delivery{})
			f.ok(f.s.Sent(edition.Direct, u))
			n, err := f.s.Ack(edition.Direct, u, edition.AckDelivered)
			f.ok(err)
			rs, err := r.Wait(f.ctx())
			f.ok(err)
			if n.Cleared != len(u) || len(rs) != len(u) {
				f.Fatalf("%+v of %d", n, len(rs))
			}
			for i := range rs {
				if rs[i] != stored(round) && rs[i] != delivered(round) {
					f.Fatalf("%+v", rs[i])
				}
			}
		}
	},
	"an empty update": func(f *fixture) {
		if rs, err := f.s.Deliver(nil, edition.Delivery{}).Wait(f.ctx()); err != nil || len(rs) > 0 {
			f.Fatal(rs, err)
		}
	},
}
