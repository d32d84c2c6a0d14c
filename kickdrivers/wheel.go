package kickdrivers

import (
	"math/bits"
	"time"
)

const (
	tick  = 10 * time.Millisecond // what all times are rounded up to
	slots = 1 << 12               // 41 s; who waits longer is passed over
)

// wheel orders parties by when they are due: one list a tick. Setting and
// clearing a timer touches a list and a bit. Guarded by Dispatcher.mu.
type wheel struct {
	lists [slots]list
	used  [slots / 64]uint64 // which lists hold anybody
	tick  int64              // the earliest tick that may hold a party that is due
}

func (w *wheel) init() {
	for i := range w.lists {
		w.lists[i] = newList()
	}
}

// tickOf rounds up, so that nothing fires early.
func tickOf(at int64) int64 { return (at + int64(tick) - 1) / int64(tick) }

// slot is the list for a time: in the past, the one that is looked at next.
func (w *wheel) slot(at int64) int64 { return max(tickOf(at), w.tick) % slots }

func (w *wheel) add(t *table, i int32, at int64) {
	p := t.at(i)
	p.due = max(tickOf(at), w.tick) * int64(tick)
	s := w.slot(p.due)
	w.lists[s].push(t, i)
	w.used[s/64] |= 1 << (s % 64)
}

func (w *wheel) remove(t *table, i int32) {
	s := (t.at(i).due / int64(tick)) % slots
	if w.lists[s].remove(t, i); w.lists[s].n == 0 {
		w.used[s/64] &^= 1 << (s % 64)
	}
}

// fire takes at most len(dst) parties that are due off the wheel and returns
// how many.
func (w *wheel) fire(t *table, now int64, dst []int32) (n int) {
	for end := now / int64(tick); w.tick <= end; {
		s := w.tick % slots
		for i := w.lists[s].head; i != none; {
			p := t.at(i)
			next := p.next
			if p.due <= now {
				if n == len(dst) {
					return n
				}
				w.remove(t, i)
				dst[n] = i
				n++
			}
			i = next
		}
		step := w.ahead(w.tick + 1)
		w.tick = min(w.tick+1+step, end+1)
	}
	return n
}

// ahead counts the ticks from at on whose lists are empty; slots when all are.
func (w *wheel) ahead(at int64) int64 {
	for n := int64(0); n < slots; {
		s := (at + n) % slots
		if word := w.used[s/64] >> (s % 64); word != 0 {
			return n + int64(bits.TrailingZeros64(word))
		}
		n += 64 - s%64
	}
	return slots
}

// next is when to look again: somebody may be due then, nobody before. ok is
// false when the wheel is empty.
func (w *wheel) next() (at int64, ok bool) {
	n := w.ahead(w.tick)
	return (w.tick + n) * int64(tick), n < slots
}
