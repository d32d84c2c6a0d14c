package storetest

import "github.com/edition-push/edition"

var ackTests = map[string]func(*fixture){
	"the ack of the first comes after the second put": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.put(k, 1)
		f.send(edition.Direct, k, 1)
		f.put(k, 2)
		f.ack(edition.Direct, k, 1, edition.AckDelivered, late)
		f.pending(edition.Direct, k.UAID, event(k, 2))
		f.state(k, edition.StatePending, 2)
		f.wantResult(f.put(k, 1), delivered(1))
	},
	"an ack again": func(f *fixture) {
		k := f.app(edition.Direct, "up")
		f.put(k, 1)
		f.send(edition.Direct, k, 1)
		f.ack(edition.Direct, k, 1, edition.AckDelivered, cleared)
		f.ack(edition.Direct, k, 1, edition.AckDelivered, late)
		f.state(k, edition.StateDelivered, 1)
		f.reports("up", event(k, 1))
		f.ok(f.s.Reported(one(k, 1)))
		f.ack(edition.Direct, k, 1, edition.AckDelivered, late)
		f.reports("up")
	},
	"an ack of what was not sent": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.put(k, 5)
		f.ack(edition.Direct, k, 5, edition.AckDelivered, ignored)
		f.send(edition.Direct, k, 5)
		f.put(k, 7)
		f.ack(edition.Direct, k, 7, edition.AckDelivered, ignored)
		f.ack(edition.Direct, k, 6, edition.AckDelivered, ignored)
		f.pending(edition.Direct, k.UAID, event(k, 7))
	},
	"sent is not more than pending": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.send(edition.Direct, k, 5)
		f.put(k, 5)
		f.send(edition.Direct, k, 9)
		f.ack(edition.Direct, k, 5, edition.AckDelivered, ignored)
		f.ack(edition.Direct, k, 9, edition.AckDelivered, ignored)
	},
	"an ack of another holder": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(edition.Direct, "")
		f.put(k, 5)
		f.send(edition.Direct, k, 5)
		f.ack(relay, k, 5, edition.AckDelivered, ignored)
		f.send(relay, k, 5)
		f.ack(relay, k, 5, edition.AckReleased, ignored)
		f.ack(edition.Direct, edition.Key{UAID: edition.NewUAID(), AppID: k.AppID}, 5, edition.AckDelivered, ignored)
		f.pending(edition.Direct, k.UAID, event(k, 5))
		f.pending(relay, k.UAID)
		f.ack(edition.Direct, k, 5, edition.AckDelivered, cleared)
	},
	"a device cannot store, release or refuse": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.put(k, 5)
		f.send(edition.Direct, k, 5)
		for _, state := range []edition.AckState{edition.AckStored, edition.AckReleased, edition.AckRefused} {
			f.ack(edition.Direct, k, 5, state, ignored)
		}
		f.pending(edition.Direct, k.UAID, event(k, 5))
	},
	"stored by a relay": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		f.put(k, 5)
		f.send(relay, k, 5)
		f.ack(relay, k, 5, edition.AckStored, cleared)
		f.ack(relay, k, 5, edition.AckStored, late)
		f.pending(relay, k.UAID)
		f.state(k, edition.StatePending, 5)
		f.wantResult(f.put(k, 5), stored(5))
		f.pending(relay, k.UAID)
		f.put(k, 6)
		f.pending(relay, k.UAID, event(k, 6))
		f.ack(relay, k, 5, edition.AckStored, late)
		f.pending(relay, k.UAID, event(k, 6))
		f.ack(relay, k, 5, edition.AckDelivered, late)
		f.send(relay, k, 6)
		f.ack(relay, k, 6, edition.AckStored, cleared)
		f.ack(relay, k, 6, edition.AckDelivered, cleared)
		f.state(k, edition.StateDelivered, 6)
	},
	"a relay that lost its store gets it again": func(f *fixture) {
		relay := f.relay("r", "1")
		stored, refused := f.app(relay, ""), f.app(relay, "")
		f.put(stored, 5)
		f.put(refused, 6)
		f.send(relay, stored, 5)
		f.send(relay, refused, 6)
		f.ack(relay, stored, 5, edition.AckStored, cleared)
		f.ack(relay, refused, 6, edition.AckRefused, cleared)
		if again := f.relay("r", "1"); again != relay {
			f.Fatalf("number %d, was %d", again, relay)
		}
		f.pending(relay, stored.UAID)
		f.pending(relay, refused.UAID)
		f.relay("r", "2")
		f.pending(relay, stored.UAID, event(stored, 5))
		f.pending(relay, refused.UAID, event(refused, 6))
	},
	"refused until the device shows up": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		f.put(k, 5)
		f.send(relay, k, 5)
		f.ack(relay, k, 5, edition.AckRefused, cleared)
		f.pending(relay, k.UAID)
		f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Owner: relay}))
		f.pending(relay, k.UAID, event(k, 5))
	},
	"refused before the device showed up": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		shows := func(at edition.Owner) {
			f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Owner: at}))
		}
		f.put(k, 5)
		f.send(relay, k, 5)
		shows(relay)
		f.ack(relay, k, 5, edition.AckRefused, late) // was on its way
		f.pending(relay, k.UAID, event(k, 5))
		f.send(relay, k, 5)
		f.ack(relay, k, 5, edition.AckRefused, cleared)
		f.pending(relay, k.UAID)
		shows(relay)
		f.pending(relay, k.UAID, event(k, 5))
		f.ack(relay, k, 5, edition.AckStored, cleared)
		f.pending(relay, k.UAID)
		shows(relay)
		shows(edition.Direct)
		shows(relay)
		f.send(relay, k, 5)
		f.ack(relay, k, 5, edition.AckRefused, cleared)
	},
	"released to a relay": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "up")
		r := f.s.Deliver(one(k, 5), edition.Delivery{Grace: aWhile})
		f.send(relay, k, 5)
		f.ack(relay, k, 5, edition.AckReleased, cleared)
		f.wantResult(f.result(r), stored(5))
		f.pending(relay, k.UAID)
		if st, err := f.s.State(k); err != nil || st.State != edition.StateNone || !st.Relayed {
			f.Fatal(st, err)
		}
		f.reports("up")
		f.wantResult(f.put(k, 5), stored(5))
		f.wantResult(f.put(k, 4), superseded(5))
		f.ack(relay, k, 4, edition.AckDelivered, late)
		f.reports("up")
		f.ack(relay, k, 5, edition.AckDelivered, late)
		f.state(k, edition.StateDelivered, 5)
		f.reports("up", event(k, 5))
		f.wantResult(f.put(k, 5), delivered(5))
	},
	"reports": func(f *fixture) {
		k, l := f.app(edition.Direct, "up"), f.app(edition.Direct, "other")
		server := f.app(edition.Direct, "")
		for _, k := range []edition.Key{k, l, server} {
			f.put(k, 5)
			f.send(edition.Direct, k, 5)
			f.ack(edition.Direct, k, 5, edition.AckDelivered, cleared)
		}
		f.reports("up", event(k, 5))
		f.reports("other", event(l, 5))
		f.reports("")
		f.reports("never heard of")
		f.ok(f.s.Reported(one(k, 4)))
		f.reports("up", event(k, 5))
		f.put(k, 6)
		f.send(edition.Direct, k, 6)
		f.ack(edition.Direct, k, 6, edition.AckDelivered, cleared)
		f.ok(f.s.Reported(one(k, 5)))
		f.reports("up", event(k, 6))
		f.ok(f.s.Reported(edition.Update{event(k, 6), event(server, 6)}.Normalize()))
		f.reports("up")
	},
}
