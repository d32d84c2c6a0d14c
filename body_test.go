package edition_test

import (
	"testing"
	"time"

	"github.com/edition-push/edition"
)

func TestSlots(t *testing.T) {
	app := edition.NewAppID()
	if app.IsSlot() {
		t.Error("an app is no slot")
	}
	topic := edition.TopicSlot(app, "news")
	if !topic.IsSlot() || topic != edition.TopicSlot(app, "news") || topic == edition.TopicSlot(app, "new") || topic == edition.TopicSlot(edition.NewAppID(), "news") {
		t.Error("a topic has one slot in each app")
	}
	var m edition.SlotMaker
	now := time.UnixMilli(1_800_000_000_123)
	last := m.Next(now)
	for i := range 10_000 {
		at := now
		if i%3 == 0 {
			at = now.Add(-time.Hour) // a clock that was set back
		}
		next := m.Next(at)
		if !next.IsSlot() || (edition.Key{AppID: next}).Compare(edition.Key{AppID: last}) <= 0 {
			t.Fatalf("%v after %v", next, last)
		}
		last = next
	}
	for _, id := range []edition.AppID{app, topic, last} {
		text, _ := id.MarshalText()
		if got, err := edition.ParseSlot(text); err != nil || got != id {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
	}
	text, _ := topic.MarshalText()
	if _, err := edition.ParseAppID(text); err == nil {
		t.Error("a slot is taken for an app")
	}
	if _, err := edition.ParseSlot("00000000-0000-1000-8000-000000000000"); err == nil {
		t.Error("a UUIDv1 is taken for a slot")
	}
}

func TestUrgency(t *testing.T) {
	for _, s := range []string{"very-low", "low", "normal", "high"} {
		if u, ok := edition.ParseUrgency(s); !ok || u.String() != s {
			t.Errorf("%s is %v", s, u)
		}
	}
	if u, ok := edition.ParseUrgency(""); !ok || u != edition.UrgencyNormal {
		t.Errorf("nothing is %v", u)
	}
	if _, ok := edition.ParseUrgency("High"); ok {
		t.Error("words are exact")
	}
}

func TestSlotVersions(t *testing.T) {
	var m edition.SlotVersions
	slot := edition.TopicSlot(edition.NewAppID(), "t")
	for _, c := range []struct{ want, next edition.Version }{
		{100, 100}, {100, 101}, {50, 102}, {1000, 1000}, {edition.MaxVersion, edition.MaxVersion}, {5, edition.MaxVersion},
	} {
		if v := m.Next(slot, c.want); v != c.next {
			t.Errorf("at least %d: %d, want %d", c.want, v, c.next)
		}
	}
	if !slot.IsTopic() || !slot.IsSlot() || edition.NewAppID().IsTopic() || new(edition.SlotMaker).Next(time.Now()).IsTopic() {
		t.Error("what the slot of a topic is")
	}
}
