package storetest

import "github.com/edition-push/edition"

// falling registers an app whose versions need not rise.
func (f *fixture) falling(owner edition.Owner, upstream string) edition.Key {
	f.Helper()
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Owner: owner, Upstream: upstream, Last: true}))
	return k
}

// arrived puts a version, sends it, and has it acknowledged.
func (f *fixture) arrived(owner edition.Owner, k edition.Key, v edition.Version) {
	f.Helper()
	f.wantResult(f.put(k, v), stored(v))
	f.send(owner, k, v)
	f.ack(owner, k, v, edition.AckDelivered, cleared)
}

var lastTests = map[string]func(*fixture){
	"last: a lower version is taken once the greater one has arrived": func(f *fixture) {
		k := f.falling(edition.Direct, "")
		f.arrived(edition.Direct, k, 9)
		r := f.s.Deliver(one(k, 3), edition.Delivery{})
		if len(r.Fresh) != 1 {
			f.Fatalf("fresh %v", r.Fresh)
		}
		f.wantResult(f.result(r), stored(3))
		f.pending(edition.Direct, k.UAID, event(k, 3))
		f.state(k, edition.StatePending, 3)
		f.send(edition.Direct, k, 3)
		f.ack(edition.Direct, k, 3, edition.AckDelivered, cleared)
		f.state(k, edition.StateDelivered, 3)
	},
	"last: not while the greater one waits": func(f *fixture) {
		k := f.falling(edition.Direct, "")
		f.put(k, 9)
		f.wantResult(f.put(k, 3), superseded(9))
		f.pending(edition.Direct, k.UAID, event(k, 9))
	},
	"last: the same version again changes nothing": func(f *fixture) {
		k := f.falling(edition.Direct, "")
		f.arrived(edition.Direct, k, 9)
		f.wantResult(f.put(k, 9), delivered(9))
		f.pending(edition.Direct, k.UAID)
	},
	"last: a late ack of the greater one does not clear the lower one": func(f *fixture) {
		k := f.falling(edition.Direct, "")
		f.arrived(edition.Direct, k, 9)
		f.put(k, 3)
		f.ack(edition.Direct, k, 9, edition.AckDelivered, ignored)
		f.pending(edition.Direct, k.UAID, event(k, 3))
		f.send(edition.Direct, k, 3)
		f.ack(edition.Direct, k, 9, edition.AckDelivered, ignored)
		f.pending(edition.Direct, k.UAID, event(k, 3))
	},
	"last: behind a relay that answers for it": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.falling(relay, "")
		f.put(k, 9)
		f.send(relay, k, 9)
		f.ack(relay, k, 9, edition.AckReleased, cleared)
		f.wantResult(f.put(k, 3), stored(3))
		f.pending(relay, k.UAID, event(k, 3))
	},
	"last: on a relay, which reports the lower one": func(f *fixture) {
		k := f.falling(edition.Direct, "up")
		f.arrived(edition.Direct, k, 9)
		f.arrived(edition.Direct, k, 3)
		u, err := f.s.Reports(nil, "up", edition.Key{}, 10)
		f.ok(err)
		if len(u) != 1 || u[0] != event(k, 3) {
			f.Fatalf("reports %v", u)
		}
	},
	"last: upstream confirms the greater one when the lower one is here": func(f *fixture) {
		k := f.falling(edition.Direct, "up")
		f.arrived(edition.Direct, k, 9)
		f.arrived(edition.Direct, k, 3)
		f.ok(f.s.Reported(one(k, 9)))
		f.reports("up", event(k, 3))
		f.ok(f.s.Reported(one(k, 3)))
		f.reports("up")
	},
	"last: until the next registration": func(f *fixture) {
		k := f.falling(edition.Direct, "")
		f.arrived(edition.Direct, k, 9)
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof}))
		f.wantResult(f.put(k, 3), delivered(3))
		f.ok(f.s.Register(f.ctx(), edition.Registration{Key: k, Proof: f.proof, Last: true}))
		f.wantResult(f.put(k, 3), stored(3))
	},
}
