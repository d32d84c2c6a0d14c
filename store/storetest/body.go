package storetest

import (
	"reflect"
	"time"

	"github.com/edition-push/edition"
)

// message delivers a body into a slot of an app's device.
func (f *fixture) message(app edition.Key, slot edition.AppID, b edition.Body, how edition.Delivery) (edition.Event, edition.Result) {
	f.Helper()
	b.AppID = app.AppID
	e := event(edition.Key{UAID: app.UAID, AppID: slot}, 1)
	how.Bodies = []*edition.Body{&b}
	r := f.result(f.s.Deliver(edition.Update{e}, how))
	e.Version = r.Version
	return e, r
}

// body checks what goes with one event; nil for nothing.
func (f *fixture) body(e edition.Event, want *edition.Body) {
	f.Helper()
	all, err := f.s.Bodies(edition.Update{e})
	f.ok(err)
	if want == nil {
		if len(all) != 0 && all[0] != nil {
			f.Fatalf("%v carries %+v", e, all[0])
		}
		return
	}
	if len(all) != 1 || all[0] == nil {
		f.Fatalf("%v carries nothing", e)
	}
	got := *all[0]
	if got.TTL <= 0 || want.TTL > 0 && got.TTL > want.TTL {
		f.Fatalf("%v of a TTL of %v is left", got.TTL, want.TTL)
	}
	got.TTL = want.TTL
	if !reflect.DeepEqual(got, *want) {
		f.Fatalf("carries %+v, want %+v", got, *want)
	}
}

func (f *fixture) withdraw(e edition.Event, want bool) {
	f.Helper()
	got, relay, err := f.s.Withdraw(f.ctx(), e)
	f.ok(err)
	if got != want || relay != edition.Direct {
		f.Fatalf("withdrawing %v: %v, relay %d is to be told", e, got, relay)
	}
}

var make1 = edition.Delivery{Make: true}

var bodyTests = map[string]func(*fixture){
	"a message waits in its slot and is forgotten when delivered": func(f *fixture) {
		k := f.app(edition.Direct, "")
		b := edition.Body{
			AppID: k.AppID, TTL: time.Hour, Urgency: edition.UrgencyHigh,
			Encoding: "aesgcm", Encryption: "salt=x", CryptoKey: "dh=y", Data: []byte{0, 1, 2, 255},
		}
		var slots edition.SlotMaker
		e, r := f.message(k, slots.Next(time.Now()), b, make1)
		f.wantResult(r, stored(e.Version))
		f.pending(edition.Direct, k.UAID, e)
		f.body(e, &b)
		f.body(event(e.Key, e.Version+1), nil)
		f.send(edition.Direct, e.Key, e.Version)
		f.body(e, &b)
		f.ack(edition.Direct, e.Key, e.Version, edition.AckDelivered, cleared)
		f.pending(edition.Direct, k.UAID)
		f.body(e, nil)
		if _, err := f.s.State(e.Key); err == nil {
			f.Fatal("the slot of a delivered message is still there")
		}
		f.state(k, edition.StateNone, 0)
	},
	"messages stand in the order in which they came": func(f *fixture) {
		k := f.app(edition.Direct, "")
		var slots edition.SlotMaker
		var want edition.Update
		now := time.Now()
		for range 20 {
			e, _ := f.message(k, slots.Next(now), edition.Body{Data: []byte("x")}, make1)
			want = append(want, e)
		}
		got, err := f.s.Pending(nil, edition.Direct, k.UAID)
		f.ok(err)
		if !reflect.DeepEqual(got, want) {
			f.Fatalf("pending %v, want %v", got, want)
		}
		all, err := f.s.Bodies(got)
		f.ok(err)
		if len(all) != 20 || all[19] == nil {
			f.Fatalf("%d bodies", len(all))
		}
	},
	"a topic keeps the last message": func(f *fixture) {
		k := f.app(edition.Direct, "")
		slot := edition.TopicSlot(k.AppID, "news")
		first, _ := f.message(k, slot, edition.Body{Data: []byte("one"), Urgency: edition.UrgencyLow}, make1)
		f.send(edition.Direct, first.Key, first.Version)
		b := edition.Body{AppID: k.AppID, Data: []byte("two")}
		second, _ := f.message(k, slot, b, make1)
		if second.Version <= first.Version {
			f.Fatalf("version %d after %d", second.Version, first.Version)
		}
		f.pending(edition.Direct, k.UAID, second)
		f.body(first, nil)
		f.body(second, &b)
		f.ack(edition.Direct, first.Key, first.Version, edition.AckDelivered, late)
		f.body(second, &b)
		f.send(edition.Direct, second.Key, second.Version)
		f.ack(edition.Direct, second.Key, second.Version, edition.AckDelivered, cleared)
		f.pending(edition.Direct, k.UAID)
	},
	"versions of a topic rise, though it is forgotten in between": func(f *fixture) {
		k := f.app(edition.Direct, "")
		slot := edition.TopicSlot(k.AppID, "news")
		var last edition.Version
		for range 50 {
			e, r := f.message(k, slot, edition.Body{}, make1)
			f.wantResult(r, stored(e.Version))
			if e.Version <= last {
				f.Fatalf("version %d after %d", e.Version, last)
			}
			last = e.Version
			f.send(edition.Direct, e.Key, e.Version)
			f.ack(edition.Direct, e.Key, e.Version, edition.AckDelivered, cleared)
		}
	},
	"what is urgent": func(f *fixture) {
		k := f.app(edition.Direct, "")
		f.put(k, 5)
		want := edition.Update{event(k, 5)}
		for i, urgency := range []edition.Urgency{edition.UrgencyNormal, edition.UrgencyVeryLow, edition.UrgencyHigh, edition.UrgencyLow} {
			e, _ := f.message(k, edition.TopicSlot(k.AppID, string(rune('a'+i))), edition.Body{Urgency: urgency}, make1)
			if urgency >= edition.UrgencyNormal {
				want = append(want, e)
			}
		}
		u, err := f.s.Pending(nil, edition.Direct, k.UAID)
		f.ok(err)
		if u, err = f.s.Urgent(u, edition.UrgencyNormal); err != nil || !reflect.DeepEqual(u, want.Normalize()) {
			f.Fatalf("urgent are %v (%v), want %v", u, err, want)
		}
	},
	"a message for an app that is not registered": func(f *fixture) {
		k := f.app(edition.Direct, "")
		k.AppID = edition.NewAppID()
		_, r := f.message(k, edition.TopicSlot(k.AppID, ""), edition.Body{}, make1)
		f.wantResult(r, edition.Result{Outcome: edition.OutcomeGone})
		f.pending(edition.Direct, k.UAID)
	},
	"an app takes its messages with it": func(f *fixture) {
		k := f.app(edition.Direct, "")
		other := f.another(k, edition.Direct, "")
		f.message(k, edition.TopicSlot(k.AppID, "a"), edition.Body{Data: []byte("1")}, make1)
		f.message(k, edition.TopicSlot(k.AppID, "b"), edition.Body{Data: []byte("2")}, make1)
		stays, _ := f.message(other, edition.TopicSlot(other.AppID, "a"), edition.Body{Data: []byte("3")}, make1)
		f.ok(f.s.Unregister(f.ctx(), k))
		f.pending(edition.Direct, k.UAID, stays)
	},
	"a version that carries something": func(f *fixture) {
		k := f.app(edition.Direct, "")
		b := edition.Body{AppID: k.AppID, Data: []byte("data")}
		f.wantResult(f.result(f.s.Deliver(one(k, 5), edition.Delivery{Bodies: []*edition.Body{&b}})), stored(5))
		f.body(event(k, 5), &b)
		f.put(k, 6)
		f.body(event(k, 5), nil)
		f.body(event(k, 6), nil)
		f.pending(edition.Direct, k.UAID, event(k, 6))
	},
	"a message through a relay is remembered until upstream knows": func(f *fixture) {
		owner := f.relay("below", "a")
		k := f.app(owner, "up")
		b := edition.Body{AppID: k.AppID, Data: []byte("x")}
		e := event(edition.Key{UAID: k.UAID, AppID: edition.TopicSlot(k.AppID, "")}, 7)
		how := edition.Delivery{Adopt: true, Upstream: "up", Bodies: []*edition.Body{&b}}
		f.wantResult(f.result(f.s.Deliver(edition.Update{e}, how)), stored(7))
		f.send(owner, e.Key, 7)
		f.ack(owner, e.Key, 7, edition.AckStored, cleared)
		f.body(e, &b)
		f.ack(owner, e.Key, 7, edition.AckDelivered, cleared)
		f.body(e, nil)
		f.reports("up", e)
		f.wantResult(f.result(f.s.Deliver(edition.Update{e}, how)), delivered(7))
		f.ok(f.s.Reported(edition.Update{e}))
		f.reports("up")
		if _, err := f.s.State(e.Key); err == nil {
			f.Fatal("the slot is still there")
		}
	},
	"a receipt outlives its message": func(f *fixture) {
		k := f.app(edition.Direct, "")
		e, _ := f.message(k, edition.TopicSlot(k.AppID, ""), edition.Body{Receipt: true, TTL: time.Hour}, make1)
		f.state(e.Key, edition.StatePending, e.Version)
		f.send(edition.Direct, e.Key, e.Version)
		f.ack(edition.Direct, e.Key, e.Version, edition.AckDelivered, cleared)
		f.state(e.Key, edition.StateDelivered, e.Version)
	},
	"a message is withdrawn": func(f *fixture) {
		k := f.app(edition.Direct, "")
		slot := edition.TopicSlot(k.AppID, "")
		first, _ := f.message(k, slot, edition.Body{Data: []byte("1")}, make1)
		second, _ := f.message(k, slot, edition.Body{Data: []byte("2"), Receipt: true, TTL: time.Hour}, make1)
		f.withdraw(first, false)
		f.pending(edition.Direct, k.UAID, second)
		f.withdraw(second, true)
		f.withdraw(second, false)
		f.pending(edition.Direct, k.UAID)
		f.body(second, nil)
		if _, err := f.s.State(second.Key); err == nil {
			f.Fatal("the slot of a withdrawn message is still there")
		}
		f.put(k, 5)
		f.withdraw(event(k, 5), false)
		f.pending(edition.Direct, k.UAID, event(k, 5))
	},
	"what was delivered shows beside what is pending": func(f *fixture) {
		k := f.app(edition.Direct, "")
		slot, b := edition.TopicSlot(k.AppID, ""), edition.Body{Receipt: true, TTL: time.Hour}
		first, _ := f.message(k, slot, b, make1)
		f.send(edition.Direct, first.Key, first.Version)
		f.ack(edition.Direct, first.Key, first.Version, edition.AckDelivered, cleared)
		second, _ := f.message(k, slot, b, make1)
		st, err := f.s.State(second.Key)
		f.ok(err)
		if st.State != edition.StatePending || st.Version != second.Version || st.Delivered != first.Version {
			f.Fatalf("got %+v", st)
		}
	},
	"the largest body": func(f *fixture) {
		k := f.app(edition.Direct, "")
		b := edition.Body{AppID: k.AppID, Data: make([]byte, edition.MaxBody)}
		r := f.result(f.s.Deliver(one(k, 5), edition.Delivery{Bodies: []*edition.Body{&b}}))
		f.wantResult(r, stored(5))
		f.body(event(k, 5), &b)
	},
}
