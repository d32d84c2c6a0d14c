package storetest

import (
	"time"

	"github.com/edition-push/edition"
)

// custodyTests are what becomes of messages between a relay and its upstream.
var custodyTests = map[string]func(*fixture){
	"a message in a relay's custody is forgotten": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		b := edition.Body{AppID: k.AppID, Data: []byte("x")}
		e, _ := f.message(k, edition.TopicSlot(k.AppID, "t"), b, make1)
		f.ack(relay, e.Key, e.Version, edition.AckReleased, ignored) // not sent
		f.body(e, &b)
		f.send(relay, e.Key, e.Version)
		f.ack(relay, e.Key, e.Version, edition.AckReleased, cleared)
		f.pending(relay, k.UAID)
		f.body(e, nil)
		if _, err := f.s.State(e.Key); err == nil {
			f.Fatal("the slot of a message that a relay answers for is still there")
		}
		f.ack(relay, e.Key, e.Version, edition.AckDelivered, edition.AckCount{Ignored: 1})
		next, r := f.message(k, e.AppID, b, make1)
		f.wantResult(r, stored(next.Version))
		if next.Version <= e.Version {
			f.Fatalf("version %d after %d", next.Version, e.Version)
		}
		f.pending(relay, k.UAID, next)
	},
	"a receipt for a message in a relay's custody": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		e, _ := f.message(k, edition.TopicSlot(k.AppID, ""), edition.Body{Receipt: true, TTL: time.Hour}, make1)
		f.send(relay, e.Key, e.Version)
		f.ack(relay, e.Key, e.Version, edition.AckReleased, cleared)
		f.state(e.Key, edition.StateNone, 0) // as of every app
		f.ack(relay, e.Key, e.Version, edition.AckDelivered, late)
		f.state(e.Key, edition.StateDelivered, e.Version)
	},
	"messages are sent again to a relay that lost its store, and not otherwise": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		var slots edition.SlotMaker
		b := edition.Body{AppID: k.AppID, Data: []byte("x")}
		held, _ := f.message(k, slots.Next(time.Now()), b, make1)
		refused, _ := f.message(k, slots.Next(time.Now()), b, make1)
		open, _ := f.message(k, slots.Next(time.Now()), b, make1)
		for _, e := range []edition.Event{held, refused} {
			f.send(relay, e.Key, e.Version)
		}
		f.ack(relay, held.Key, held.Version, edition.AckStored, cleared)
		f.ack(relay, refused.Key, refused.Version, edition.AckRefused, cleared)
		f.pending(relay, k.UAID, open)
		f.body(held, &b)
		f.relay("r", "1")
		f.pending(relay, k.UAID, open)
		f.relay("r", "2")
		f.pending(relay, k.UAID, held, refused, open)
		f.body(held, &b)
	},
	"messages roam with their device": func(f *fixture) {
		first, second := f.relay("first", "1"), f.relay("second", "1")
		k := f.app(first, "")
		var slots edition.SlotMaker
		b := edition.Body{AppID: k.AppID, Data: []byte("x")}
		e, _ := f.message(k, slots.Next(time.Now()), b, make1)
		f.send(first, e.Key, e.Version)
		f.ack(first, e.Key, e.Version, edition.AckStored, cleared)
		f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Owner: second}))
		f.pending(first, k.UAID)
		f.pending(second, k.UAID, e)
		f.body(e, &b)
		f.ack(first, e.Key, e.Version, edition.AckDelivered, ignored)
		f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Owner: edition.Direct}))
		more, _ := f.message(k, slots.Next(time.Now()), b, make1)
		f.pending(edition.Direct, k.UAID, e, more)
		f.send(edition.Direct, e.Key, e.Version)
		f.ack(edition.Direct, e.Key, e.Version, edition.AckDelivered, cleared)
		f.pending(edition.Direct, k.UAID, more)
	},
	"a relay takes messages for apps that registered elsewhere": func(f *fixture) {
		k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
		b := edition.Body{AppID: k.AppID, Data: []byte("x")}
		how := edition.Delivery{Adopt: true, Upstream: "up"}
		_, r := f.message(k, edition.TopicSlot(k.AppID, ""), b, how)
		f.wantResult(r, edition.Result{Outcome: edition.OutcomeRefused})
		f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Upstream: "up"}))
		e, r := f.message(k, edition.TopicSlot(k.AppID, ""), b, how)
		f.wantResult(r, stored(1))
		f.pending(edition.Direct, k.UAID, e)
		f.body(e, &b)
		_, r = f.message(k, edition.TopicSlot(k.AppID, "other"), b, edition.Delivery{Adopt: true, Upstream: "down"})
		f.wantResult(r, edition.Result{Outcome: edition.OutcomeRefused, Err: edition.ErrForbidden})
		f.send(edition.Direct, e.Key, 1)
		f.ack(edition.Direct, e.Key, 1, edition.AckDelivered, cleared)
		f.reports("up", e)
		_, r = f.message(k, e.AppID, b, how) // upstream has not heard yet
		f.wantResult(r, delivered(1))
		f.ok(f.s.Reported(edition.Update{e}))
		f.pending(edition.Direct, k.UAID)
	},
}
