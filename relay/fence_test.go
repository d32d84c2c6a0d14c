package relay

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// TestFence waits for what has come before, and not for what comes after.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFence()
		f.wait() // for nothing
		first, second := f.enter(), f.enter()
		passed := make(chan struct{})
		go func() { f.wait(); close(passed) }()
		synctest.Wait()
		third := f.enter()
		first()
		synctest.Wait()
		select {
		case <-passed:
			t.Fatal("passed with one inside")
		default:
		}
		second()
		<-passed
		third()
		f.wait()
	})
}

// TestForgottenBehindWhatComes has upstream send a message once more while the
// relay reports it delivered. The relay keeps it late: by then it must not
// have forgotten the message, which it would take for a new one.
func TestForgottenBehindWhatComes(t *testing.T) {
	up := newFake(t)
	up.mute.Store(true)
	var g *rig
	var came atomic.Int32
	release, results := make(chan struct{}), make(chan edition.Result, 2)
	g = newRig(t, func(u edition.Update, how edition.Delivery) *edition.Receipt {
		if came.Add(1) > 1 {
			<-release
		}
		r := g.store.Deliver(u, how)
		all, err := r.Wait(context.Background())
		if err != nil {
			t.Error(err)
		}
		results <- all[0]
		return r
	}, up)
	d := newDevice(t)
	g.register(t, d)
	e := edition.Event{Key: edition.Key{UAID: d.uaid, AppID: edition.TopicSlot(d.app, "news")}, Version: 7}
	body := &edition.Body{AppID: d.app, TTL: time.Hour, Urgency: edition.UrgencyNormal}
	message := wire.AppendCarrying(nil, 1, edition.Update{e}, []*edition.Body{body})
	up.write(message)
	if r := <-results; r.Outcome != edition.OutcomeStored {
		t.Fatalf("the message came to %+v", r)
	}
	if err := g.store.Sent(edition.Direct, edition.Update{e}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.store.Ack(edition.Direct, edition.Update{e}, edition.AckDelivered); err != nil {
		t.Fatal(err)
	}
	g.Delivered()
	up.await(t, wire.TypePing)
	up.write(message)
	up.write([]byte(`{"type":"pong"}`))
	eventually(t, "the message comes again", func() bool { return came.Load() == 2 })
	time.Sleep(20 * time.Millisecond) // time for what must not happen
	close(release)
	if r := <-results; r.Outcome != edition.OutcomeDelivered {
		t.Errorf("what is delivered already came to %+v", r)
	}
	eventually(t, "reported", func() bool { return g.reports(t, "up0") == 0 })
}
