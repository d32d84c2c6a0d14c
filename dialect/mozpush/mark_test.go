package mozpush

import (
	"encoding/json"
	"testing"

	"github.com/edition-push/edition"
)

func TestMark(t *testing.T) {
	for _, v := range []edition.Version{0, 1, edition.MaxVersion} {
		slot := edition.NewAppID()
		text := mark(slot, v)
		if gotSlot, gotV, ok := openMark(text); !ok || gotSlot != slot || gotV != v {
			t.Errorf("%v at %d came back as %v at %d, %v", slot, v, gotSlot, gotV, ok)
		}
	}
	if mark(edition.AppID{1}, 1) == mark(edition.AppID{1}, 2) || mark(edition.AppID{1}, 1) == mark(edition.AppID{2}, 1) {
		t.Error("two events have one mark")
	}
}

// FuzzMark: what is taken is what was made, letter by letter.
func FuzzMark(f *testing.F) {
	f.Add(mark(edition.AppID{1}, 5))
	f.Add("")
	f.Add("_____________________________________")
	f.Fuzz(func(t *testing.T, s string) {
		if slot, v, ok := openMark(s); ok && mark(slot, v) != s {
			t.Fatalf("%q is also %q", s, mark(slot, v))
		}
	})
}

// FuzzKey: what is taken for a VAPID key has the length of one.
func FuzzKey(f *testing.F) {
	f.Add(`"BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU="`)
	f.Add(`null`)
	f.Add(`17`)
	f.Add(`"===="`)
	f.Fuzz(func(t *testing.T, s string) {
		if key, err := keyOf(json.RawMessage(s)); err == nil && key != nil && len(key) != 65 {
			t.Fatalf("%s is a key of %d bytes", s, len(key))
		}
	})
}
