package hub

import (
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
)

// Messages of less urgency than a device asks for are no reason to wake it,
// until it asks for less; versions are.
func TestQuietDevices(t *testing.T) {
	st := mem.New(mem.Options{})
	h := New(Options{Store: st})
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	if err := st.Register(t.Context(), edition.Registration{Key: k}); err != nil {
		t.Fatal(err)
	}
	party := edition.Holder{UAID: k.UAID}
	var slots edition.SlotMaker
	send := func(u edition.Urgency) {
		e := edition.Event{Key: edition.Key{UAID: k.UAID, AppID: slots.Next(time.Now())}}
		how := edition.Delivery{Make: true, Bodies: []*edition.Body{{AppID: k.AppID, Urgency: u}}}
		if _, err := h.Deliver(edition.Update{e}, how).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	due := func(want bool, when string) {
		t.Helper()
		if got := h.StillDue(party); got != want {
			t.Errorf("%s: due is %v", when, got)
		}
	}
	h.Urgency(k.UAID, edition.UrgencyVeryLow)
	due(false, "nothing waits")
	send(edition.UrgencyLow)
	due(true, "whatever comes")
	h.Urgency(k.UAID, edition.UrgencyHigh)
	due(false, "only what is urgent")
	send(edition.UrgencyNormal)
	due(false, "only what is urgent")
	h.Urgency(k.UAID, edition.UrgencyNormal)
	due(true, "what is normal, too")
	h.Urgency(k.UAID, edition.UrgencyHigh)
	send(edition.UrgencyHigh)
	due(true, "an urgent one has come")
	h.Urgency(k.UAID, edition.UrgencyVeryLow)
	if n := h.quiet.n.Load(); n != 0 {
		t.Errorf("%d are quiet", n)
	}

	quiet := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	if err := st.Register(t.Context(), edition.Registration{Key: quiet}); err != nil {
		t.Fatal(err)
	}
	h.Urgency(quiet.UAID, edition.UrgencyHigh)
	if _, err := h.Deliver(edition.Update{{Key: quiet, Version: 1}}, edition.Delivery{}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !h.StillDue(edition.Holder{UAID: quiet.UAID}) {
		t.Error("a version does not wake a device that asks for urgent messages")
	}
}
