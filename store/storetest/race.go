package storetest

import (
	"sync"
	"time"

	"github.com/edition-push/edition"
)

// These mean most with the race detector.
var raceTests = map[string]func(*fixture){
	"a session attaches while an event is delivered": func(f *fixture) {
		k := f.app(edition.Direct, "")
		for v := edition.Version(1); v <= 200; v++ {
			var r *edition.Receipt
			var seen edition.Update
			var wg sync.WaitGroup
			wg.Go(func() { r = f.s.Deliver(one(k, v), edition.Delivery{}) })
			wg.Go(func() { seen, _ = f.s.Pending(nil, edition.Direct, k.UAID) })
			wg.Wait()
			// It was seen, or its delivery rings afterwards.
			if len(seen) == 0 && len(r.Fresh) == 0 {
				f.Fatalf("version %d neither seen nor fresh", v)
			}
			f.pending(edition.Direct, k.UAID, event(k, v))
			f.send(edition.Direct, k, v)
			f.ack(edition.Direct, k, v, edition.AckDelivered, cleared)
		}
	},
	"many publishers, one reader a device": func(f *fixture) {
		const devices, publishers, versions = 8, 4, 60
		var wg sync.WaitGroup
		for range devices {
			k := f.app(edition.Direct, "up")
			var puts sync.WaitGroup
			bell := make(chan struct{}, 1)
			for p := range publishers {
				puts.Go(func() {
					for v := range versions {
						v := edition.Version(v*publishers + p + 1)
						r := f.s.Deliver(one(k, v), edition.Delivery{Grace: 2 * time.Millisecond})
						if len(r.Fresh) > 0 {
							select {
							case bell <- struct{}{}:
							default:
							}
						}
						rs, err := r.Wait(f.Context())
						if err != nil || rs[0].Outcome != edition.OutcomeStored && rs[0].Outcome != edition.OutcomeDelivered || rs[0].Version < v {
							f.Errorf("version %d: %+v %v", v, rs, err)
							return
						}
					}
				})
			}
			wg.Go(func() {
				puts.Wait()
				close(bell)
			})
			wg.Go(func() { f.read(k, bell, versions*publishers) })
		}
		wg.Wait()
	},
	"devices roam under load": func(f *fixture) {
		owners := []edition.Owner{edition.Direct, f.relay("one", "1"), f.relay("two", "1")}
		k := f.app(edition.Direct, "")
		var wg sync.WaitGroup
		wg.Go(func() {
			for v := edition.Version(1); v <= 300; v++ {
				f.s.Deliver(one(k, v), edition.Delivery{})
			}
		})
		for _, owner := range owners {
			wg.Go(func() {
				for range 30 {
					if err := f.s.Bind(f.ctx(), edition.Agent{UAID: k.UAID, Proof: f.proof, Owner: owner}); err != nil {
						f.Error(err)
					}
					u, _ := f.s.Pending(nil, owner, k.UAID)
					f.s.Sent(owner, u)                      //nolint:errcheck // it may have moved on
					f.s.Ack(owner, u, edition.AckDelivered) //nolint:errcheck // it may have moved on
				}
			})
		}
		wg.Wait()
		last := f.put(k, 1000)
		f.wantResult(last, stored(1000))
		a, err := f.s.Agent(k.UAID)
		f.ok(err)
		f.pending(a.Owner, k.UAID, event(k, 1000))
	},
}

// read takes what is pending when it is rung, as a session does, checks that
// versions rise, and that the last one has come.
func (f *fixture) read(k edition.Key, bell <-chan struct{}, want edition.Version) {
	var last edition.Version
	for {
		_, more := <-bell
		u, err := f.s.Pending(nil, edition.Direct, k.UAID)
		if err != nil {
			f.Error(err)
			return
		}
		for _, e := range u {
			if e.Version <= last {
				f.Errorf("version %d after %d", e.Version, last)
				return
			}
			last = e.Version
		}
		if len(u) > 0 {
			if err := f.s.Sent(edition.Direct, u); err != nil {
				f.Error(err)
			}
			if n, err := f.s.Ack(edition.Direct, u, edition.AckDelivered); err != nil || n.Ignored > 0 {
				f.Error(n, err)
			}
		}
		if !more {
			if last != want {
				f.Errorf("the last version read is %d of %d", last, want)
			}
			return
		}
	}
}
