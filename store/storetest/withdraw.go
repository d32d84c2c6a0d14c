package storetest

import (
	"context"
	"time"

	"github.com/edition-push/edition"
)

// recall withdraws a message that a relay is to be told of, and returns what
// takes its place.
func (f *fixture) recall(e edition.Event, relay edition.Owner) edition.Event {
	f.Helper()
	withdrawn, told, err := f.s.Withdraw(f.ctx(), e)
	f.ok(err)
	if !withdrawn || told != relay {
		f.Fatalf("withdrawing %v: %v, relay %d is to be told", e, withdrawn, told)
	}
	u, err := f.s.Pending(nil, relay, e.UAID)
	f.ok(err)
	for _, w := range u {
		if w.Key == e.Key && w.Version > e.Version {
			f.body(w, &edition.Body{Withdrawn: true, TTL: time.Hour})
			return w
		}
	}
	f.Fatalf("nothing took the place of %v: %v", e, u)
	return edition.Event{}
}

// bind says that a device is reached through an owner now.
func (f *fixture) bind(k edition.Key, owner edition.Owner) {
	f.Helper()
	f.ok(f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Owner: owner}))
}

// gone wants a slot to be forgotten.
func (f *fixture) gone(k edition.Key) {
	f.Helper()
	if st, err := f.s.State(k); err == nil {
		f.Fatalf("the slot is still there: %+v", st)
	}
}

// recalls is how a relay hears from an upstream that a message is withdrawn.
func recalls(upstream string) edition.Delivery {
	return edition.Delivery{Adopt: true, Upstream: upstream, Bodies: []*edition.Body{{TTL: time.Hour, Withdrawn: true}}}
}

// withdrawTests are about messages that relays may have.
var withdrawTests = map[string]func(*fixture){
	"what a relay may have is withdrawn there": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		b := edition.Body{Receipt: true, TTL: time.Hour, Data: []byte("x")}
		e, _ := f.message(k, edition.TopicSlot(k.AppID, "t"), b, make1)
		f.send(relay, e.Key, e.Version)
		f.ack(relay, e.Key, e.Version, edition.AckStored, cleared)
		f.pending(relay, k.UAID)
		w := f.recall(e, relay)
		f.withdraw(e, false)
		f.withdraw(w, false)
		f.pending(relay, k.UAID, w)
		f.body(e, nil)
		// The message was delivered meanwhile: that does not count any more.
		f.send(relay, e.Key, w.Version)
		f.ack(relay, e.Key, e.Version, edition.AckDelivered, late)
		f.pending(relay, k.UAID, w)
		if st, err := f.s.State(e.Key); err != nil || st.Delivered != 0 || st.Version != w.Version {
			f.Fatalf("state %+v, %v", st, err)
		}
		f.ack(relay, e.Key, w.Version, edition.AckDelivered, cleared)
		f.pending(relay, k.UAID)
		f.gone(e.Key)
		next, _ := f.message(k, e.AppID, b, make1)
		if next.Version <= w.Version {
			f.Fatalf("version %d after %d", next.Version, w.Version)
		}
	},
	"a topic that was withdrawn is taken by the next message": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		b := edition.Body{AppID: k.AppID, TTL: time.Hour, Data: []byte("x")}
		e, _ := f.message(k, edition.TopicSlot(k.AppID, "t"), b, make1)
		w := f.recall(e, relay)
		next, _ := f.message(k, e.AppID, b, make1)
		if next.Version <= w.Version {
			f.Fatalf("version %d after %d", next.Version, w.Version)
		}
		f.pending(relay, k.UAID, next)
		f.body(next, &b)
		f.body(w, nil)
	},
	"a relay is told though the device has moved, and nobody else is": func(f *fixture) {
		first, second := f.relay("first", "1"), f.relay("second", "1")
		k := f.app(first, "")
		b := edition.Body{AppID: k.AppID, TTL: time.Hour, Data: []byte("x")}
		e, _ := f.message(k, edition.TopicSlot(k.AppID, "t"), b, make1)
		f.send(first, e.Key, e.Version)
		w := f.recall(e, first)
		for _, owner := range []edition.Owner{second, edition.Direct, second} {
			f.bind(k, owner)
			f.pending(owner, k.UAID)
			f.pending(first, k.UAID, w)
		}
		f.send(first, w.Key, w.Version)
		f.ack(first, w.Key, w.Version, edition.AckRefused, cleared)
		f.pending(first, k.UAID)
		f.bind(k, edition.Direct)
		f.pending(first, k.UAID)
		f.bind(k, first) // the relay knows the device again
		f.pending(first, k.UAID, w)
		f.bind(k, second)
		next, r := f.message(k, e.AppID, b, make1)
		f.wantResult(r, stored(next.Version))
		f.pending(first, k.UAID)
		f.pending(second, k.UAID, next)
		f.body(next, &b)
		f.bind(k, edition.Direct)
		f.pending(edition.Direct, k.UAID, next)
	},
	"what was withdrawn ends with the message": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		e, _ := f.message(k, edition.TopicSlot(k.AppID, "t"), edition.Body{TTL: time.Hour}, make1)
		w := f.recall(e, relay)
		all, err := f.s.Bodies(edition.Update{w})
		f.ok(err)
		if len(all) != 1 || all[0].TTL > time.Hour {
			f.Fatalf("carries %+v", all)
		}
		f.ok(f.s.Unregister(f.ctx(), k))
		f.pending(relay, k.UAID, w) // the relay may still have the message
	},
	"a relay that answers for a message is told, as long as a receipt is waited for": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		b := edition.Body{Receipt: true, TTL: time.Hour}
		e, _ := f.message(k, edition.TopicSlot(k.AppID, "t"), b, make1)
		f.send(relay, e.Key, e.Version)
		f.ack(relay, e.Key, e.Version, edition.AckReleased, cleared)
		f.bind(k, edition.Direct)
		f.withdraw(event(e.Key, e.Version-1), false)
		w := f.recall(e, relay)
		f.ack(relay, e.Key, e.Version, edition.AckDelivered, late)
		if st, err := f.s.State(e.Key); err != nil || st.Delivered != 0 {
			f.Fatalf("state %+v, %v", st, err)
		}
		f.send(relay, w.Key, w.Version)
		f.ack(relay, w.Key, w.Version, edition.AckReleased, cleared)
		f.gone(e.Key)

		e, _ = f.message(k, e.AppID, b, make1)
		f.pending(edition.Direct, k.UAID, e)
		f.send(edition.Direct, e.Key, e.Version)
		f.ack(edition.Direct, e.Key, e.Version, edition.AckDelivered, cleared)
		f.withdraw(e, false)
	},
	"a relay withdraws what its own device has not acknowledged": func(f *fixture) {
		k := f.app(edition.Direct, "up")
		b := edition.Body{AppID: k.AppID, Receipt: true, TTL: time.Hour, Data: []byte("x")}
		e := event(edition.Key{UAID: k.UAID, AppID: edition.TopicSlot(k.AppID, "t")}, 7)
		message := edition.Delivery{Adopt: true, Upstream: "up", Bodies: []*edition.Body{&b}}
		f.wantResult(f.result(f.s.Deliver(edition.Update{e}, message)), stored(7))
		f.send(edition.Direct, e.Key, 7) // is in flight
		w := event(e.Key, 8)
		for range 2 {
			r := f.s.Deliver(edition.Update{w}, recalls("up"))
			f.wantResult(f.result(r), delivered(8))
			if len(r.Fresh) != 0 {
				f.Fatalf("%v are to be rung", r.Fresh)
			}
			f.pending(edition.Direct, k.UAID)
			f.body(e, nil)
			f.body(w, nil)
			f.reports("up", w)
		}
		f.ack(edition.Direct, e.Key, 7, edition.AckDelivered, late)
		f.wantResult(f.result(f.s.Deliver(edition.Update{e}, message)), delivered(7)) // was on its way
		f.pending(edition.Direct, k.UAID)
		e.Version = 9
		f.wantResult(f.result(f.s.Deliver(edition.Update{e}, message)), stored(9))
		f.pending(edition.Direct, k.UAID, e)
		f.body(e, &b)
		f.wantResult(f.result(f.s.Deliver(edition.Update{w}, recalls("up"))), delivered(8))
		f.pending(edition.Direct, k.UAID, e)
		f.send(edition.Direct, e.Key, 9)
		f.ack(edition.Direct, e.Key, 9, edition.AckDelivered, cleared)
		f.reports("up", e)
	},
	"a relay withdraws before the message is durable": func(f *fixture) {
		k := f.app(edition.Direct, "up")
		b := edition.Body{AppID: k.AppID, TTL: time.Hour}
		slot := edition.Key{UAID: k.UAID, AppID: edition.TopicSlot(k.AppID, "t")}
		message := edition.Delivery{Adopt: true, Upstream: "up", Bodies: []*edition.Body{&b}}
		soon := message
		soon.Grace = aWhile
		f.unhurried(func(v edition.Version) bool {
			// A slot that is new is written at once.
			f.wantResult(f.result(f.s.Deliver(one(slot, v), message)), stored(v))
			r := f.s.Deliver(one(slot, v+1), soon)
			w := event(slot, v+2)
			f.wantResult(f.result(f.s.Deliver(edition.Update{w}, recalls("up"))), delivered(w.Version))
			overtaken := f.overtaken(r, v+1)
			f.pending(edition.Direct, k.UAID)
			f.reports("up", w)
			f.ok(f.s.Reported(edition.Update{w}))
			f.gone(slot)
			f.reports("up")
			return overtaken
		})
	},
	"a relay withdraws what it has never had": func(f *fixture) {
		k := f.app(edition.Direct, "up")
		w := event(edition.Key{UAID: k.UAID, AppID: edition.TopicSlot(k.AppID, "t")}, 8)
		f.wantResult(f.result(f.s.Deliver(edition.Update{w}, recalls("up"))), delivered(8))
		f.pending(edition.Direct, k.UAID)
		f.reports("up", w)
		f.ok(f.s.Reported(edition.Update{w}))
		f.gone(w.Key)

		stranger := event(edition.Key{UAID: edition.NewUAID(), AppID: w.AppID}, 8)
		f.wantResult(f.result(f.s.Deliver(edition.Update{stranger}, recalls("up"))), edition.Result{Outcome: edition.OutcomeRefused})
		f.wantResult(f.result(f.s.Deliver(edition.Update{w}, recalls("down"))), edition.Result{Outcome: edition.OutcomeRefused, Err: edition.ErrForbidden})
	},
	"a relay passes down what was withdrawn": func(f *fixture) {
		below := f.relay("below", "1")
		k := f.app(below, "up")
		b := edition.Body{AppID: k.AppID, TTL: time.Hour, Data: []byte("x")}
		e := event(edition.Key{UAID: k.UAID, AppID: edition.TopicSlot(k.AppID, "t")}, 7)
		message := edition.Delivery{Adopt: true, Upstream: "up", Bodies: []*edition.Body{&b}}
		f.wantResult(f.result(f.s.Deliver(edition.Update{e}, message)), stored(7))
		f.send(below, e.Key, 7)
		f.ack(below, e.Key, 7, edition.AckStored, cleared)
		w := event(e.Key, 8)
		r := f.s.Deliver(edition.Update{w}, recalls("up"))
		f.wantResult(f.result(r), stored(8))
		if len(r.Fresh) != 1 || r.Fresh[0].Owner != below {
			f.Fatalf("%v are to be rung", r.Fresh)
		}
		f.pending(below, k.UAID, w)
		f.body(w, &edition.Body{Withdrawn: true, TTL: time.Hour})
		f.bind(k, edition.Direct)
		f.pending(edition.Direct, k.UAID)
		f.send(below, w.Key, 8)
		f.ack(below, w.Key, 7, edition.AckDelivered, late)
		f.reports("up")
		f.ack(below, w.Key, 8, edition.AckDelivered, cleared)
		f.reports("up", w)
	},
	"only an upstream says that a message is withdrawn": func(f *fixture) {
		k := f.app(edition.Direct, "up")
		slot := edition.Key{UAID: k.UAID, AppID: edition.TopicSlot(k.AppID, "")}
		for _, r := range []*edition.Receipt{f.s.Deliver(one(k, 5), recalls("up")), f.s.Deliver(one(slot, 5), recalls(""))} {
			if r := f.result(r); r.Outcome != edition.OutcomeFailed {
				f.Fatalf("%+v", r)
			}
		}
		f.pending(edition.Direct, k.UAID)
	},
	"a withdrawal whose caller has gone is kept all the same": func(f *fixture) {
		relay := f.relay("r", "1")
		k := f.app(relay, "")
		e, _ := f.message(k, edition.TopicSlot(k.AppID, "t"), edition.Body{TTL: time.Hour}, make1)
		ctx, cancel := context.WithCancel(f.ctx())
		cancel()
		if _, told, _ := f.s.Withdraw(ctx, e); told != relay {
			f.Fatalf("relay %d is to be told", told)
		}
		u, err := f.s.Pending(nil, relay, k.UAID)
		f.ok(err)
		if len(u) != 1 || u[0].Version <= e.Version {
			f.Fatalf("pending %v", u)
		}
	},
}
