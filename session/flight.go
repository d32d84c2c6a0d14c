package session

import (
	"sort"
	"time"

	"github.com/edition-push/edition"
)

// flight is one UPDATE on its way: what it carried and is not yet acknowledged.
type flight struct {
	id     uint64         // 1 and up; given at launch
	events edition.Update // sorted; landed ones have version landed
	left   int            // events that have not landed
	due    time.Duration  // when to send again, on the server's clock
	made   bool           // false until launch: then its events are not known yet
	slots  slots          // whose messages flew, where the device names their apps
}

// landed marks an event of a flight that is done with.
const landed = edition.MaxVersion + 1

// of returns the events of one UAID.
func (f *flight) of(uaid edition.UAID) edition.Update {
	if len(f.events) == 1 {
		if f.events[0].UAID == uaid {
			return f.events
		}
		return nil
	}
	i := sort.Search(len(f.events), func(i int) bool { return f.events[i].UAID.Compare(uaid) >= 0 })
	j := i
	for j < len(f.events) && f.events[j].UAID == uaid {
		j++
	}
	return f.events[i:j]
}

// land notes that an event was acknowledged, by the very version that flew: an
// ack of another one sets nothing free.
func (f *flight) land(ev edition.Event) bool {
	for i, own := 0, f.of(ev.UAID); i < len(own); i++ {
		if own[i] == ev && ev.Version != landed {
			own[i].Version = landed
			f.left--
			return true
		}
	}
	return false
}

// flown reports whether nothing of a UAID is left in flight.
func (f *flight) flown(uaid edition.UAID) bool {
	for _, ev := range f.of(uaid) {
		if ev.Version != landed {
			return false
		}
	}
	return true
}

func (f *flight) appendLeft(dst, events edition.Update) edition.Update {
	for _, ev := range events {
		if ev.Version != landed {
			dst = append(dst, ev)
		}
	}
	return dst
}
