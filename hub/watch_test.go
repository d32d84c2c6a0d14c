package hub

import (
	"sync"
	"testing"

	"github.com/edition-push/edition"
)

func rung(bell <-chan struct{}) bool {
	select {
	case <-bell:
		return true
	default:
		return false
	}
}

func TestWatch(t *testing.T) {
	s := newFakeStore()
	h := New(Options{Store: s})
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	other := edition.Key{UAID: k.UAID, AppID: edition.NewAppID()}
	ack := func(k edition.Key) {
		t.Helper()
		if err := h.Ack(edition.Direct, edition.Update{{Key: k, Version: 1}}, edition.AckDelivered); err != nil {
			t.Fatal(err)
		}
	}
	one, endOne := h.Watch(k)
	two, endTwo := h.Watch(k)
	far, endFar := h.Watch(other)
	ack(k)
	ack(k)
	if !rung(one) || rung(one) || !rung(two) || rung(far) {
		t.Error("each who watches this key is rung once, and nobody else")
	}
	endOne()
	endOne() // no harm
	ack(k)
	if rung(one) || !rung(two) {
		t.Error("who has ended is not rung")
	}
	endTwo()
	endFar()
	if n := h.watch.n.Load(); n != 0 || len(h.watch.by) != 0 {
		t.Errorf("%d watch, %d keys", n, len(h.watch.by))
	}
	s.ackErr = edition.ErrUnavailable
	bell, end := h.Watch(k)
	defer end()
	if err := h.Ack(edition.Direct, edition.Update{{Key: k, Version: 1}}, edition.AckDelivered); err == nil || rung(bell) {
		t.Errorf("an ack that was not taken: %v", err)
	}
}

func TestWatchAtOnce(t *testing.T) {
	h := New(Options{Store: newFakeStore()})
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				bell, end := h.Watch(k)
				if err := h.Ack(edition.Direct, edition.Update{{Key: k, Version: 1}}, edition.AckDelivered); err != nil {
					t.Error(err)
				}
				<-bell
				end()
			}
		})
	}
	wg.Wait()
	if n := h.watch.n.Load(); n != 0 || len(h.watch.by) != 0 {
		t.Errorf("%d watch, %d keys", n, len(h.watch.by))
	}
}
