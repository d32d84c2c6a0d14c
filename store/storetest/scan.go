package storetest

import (
	"slices"

	"github.com/edition-push/edition"
)

// crowd registers n apps on devices of an owner and makes version 1 pending
// for each.
func (f *fixture) crowd(n int, owner edition.Owner, upstream string) edition.Update {
	f.Helper()
	var u edition.Update
	for i := range n {
		k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
		if i%3 == 2 {
			k.UAID = u[i-1].UAID
		}
		u = append(u, event(k, 1))
	}
	u = u.Normalize()
	f.register(u, owner, upstream)
	_, err := f.s.Deliver(u, edition.Delivery{}).Wait(f.ctx())
	f.ok(err)
	return u
}

func (f *fixture) scanned(owner edition.Owner, limit int, want edition.Update) {
	f.Helper()
	got, err := scan(f.s, owner, limit)
	f.ok(err)
	if !slices.Equal(got, want) {
		f.Fatalf("scan of %d by %d: %d events, want %d, or in another order", owner, limit, len(got), len(want))
	}
}

var scanTests = map[string]func(*fixture){
	"scan in chunks": func(f *fixture) {
		one, two := f.relay("one", "1"), f.relay("two", "1")
		a, b := f.crowd(100, one, ""), f.crowd(50, two, "")
		c := f.crowd(30, edition.Direct, "")
		for _, limit := range []int{1, 7, 100, 1000} {
			f.scanned(one, limit, a)
			f.scanned(two, limit, b)
			f.scanned(edition.Direct, limit, c)
		}
		f.scanned(two+1, 10, nil)
		part, next, more, err := f.s.Scan(nil, one, a[9].Key, 10)
		f.ok(err)
		if !slices.Equal(part, a[10:20]) || !more || next.Compare(a[19].Key) < 0 || next.Compare(a[20].Key) >= 0 {
			f.Fatal("not the next ten", len(part), more)
		}
	},
	"scan passes over what is stored": func(f *fixture) {
		relay := f.relay("r", "1")
		a := f.crowd(200, relay, "")
		f.ok(f.s.Sent(relay, a))
		n, err := f.s.Ack(relay, a[10:190], edition.AckStored)
		f.ok(err)
		if n.Cleared != 180 {
			f.Fatalf("%+v", n)
		}
		f.scanned(relay, 8, slices.Concat(a[:10], a[190:]))
		n, err = f.s.Ack(relay, a[:5], edition.AckDelivered)
		f.ok(err)
		if n.Cleared != 5 {
			f.Fatalf("%+v", n)
		}
		f.scanned(relay, 8, slices.Concat(a[5:10], a[190:]))
		f.relay("r", "2")
		f.scanned(relay, 50, a[5:])
	},
	"due": func(f *fixture) {
		all := func(limit int) (out []edition.Holder) {
			f.Helper()
			after := edition.Holder{}
			for {
				n := len(out)
				var err error
				out, err = f.s.Due(out, after, limit)
				f.ok(err)
				if len(out)-n > limit {
					f.Fatal("more than the limit")
				}
				if len(out)-n < limit {
					return out
				}
				after = out[len(out)-1]
			}
		}
		if got := all(3); len(got) > 0 {
			f.Fatal("due in an empty store:", got)
		}
		f.relay("idle", "1")
		busy, held := f.relay("busy", "1"), f.relay("held", "1")
		direct := f.crowd(40, edition.Direct, "")
		f.crowd(10, busy, "")
		stored := f.crowd(4, held, "")
		f.ok(f.s.Sent(held, stored))
		_, err := f.s.Ack(held, stored, edition.AckStored)
		f.ok(err)
		var want []edition.Holder
		for _, e := range direct {
			want = append(want, edition.Holder{UAID: e.UAID})
		}
		want = append(slices.Compact(want), edition.Holder{Owner: busy})
		for _, limit := range []int{1, 5, 1000} {
			if got := all(limit); !slices.Equal(got, want) {
				f.Fatalf("by %d: %d due, want %d", limit, len(got), len(want))
			}
		}
	},
	"reports in chunks": func(f *fixture) {
		a := f.crowd(50, edition.Direct, "up")
		f.ok(f.s.Sent(edition.Direct, a))
		_, err := f.s.Ack(edition.Direct, a, edition.AckDelivered)
		f.ok(err)
		var got edition.Update
		after := edition.Key{}
		for {
			n := len(got)
			got, err = f.s.Reports(got, "up", after, 7)
			f.ok(err)
			if len(got) == n {
				break
			}
			after = got[len(got)-1].Key
		}
		if !slices.Equal(got, a) {
			f.Fatalf("%d reports, want %d", len(got), len(a))
		}
		f.ok(f.s.Reported(a[:25]))
		f.reports("up", a[25:]...)
	},
}
