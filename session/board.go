package session

import (
	"slices"
	"time"

	"github.com/edition-push/edition"
)

// board is what one connection knows about its UAIDs: which are to be looked
// up in the store, and which have an UPDATE in flight. It holds no pending
// versions. A UAID is idle, dirty (rung: look at the store), or flying (an
// UPDATE is being made or waits for its ack); rung while flying it is looked
// at again when it has landed.
//
// A board does no I/O and has no lock: conn.mu guards it.
type board struct {
	relay bool // entries come and go with events; else they are the UAIDs held

	// The common device holds one UAID: it stands in the connection itself.
	one   edition.UAID
	first entry
	many  map[edition.UAID]*entry // nil until the second UAID; of a relay always

	queue   []edition.UAID // of many: dirty ones as they were rung; may hold stale ones
	flights []*flight
	spare   *flight // the last flight that landed, for the next one
	lastID  uint64

	scan scan
}

func newBoard(relay bool) board {
	b := board{relay: relay}
	if relay {
		b.many = make(map[edition.UAID]*entry)
	}
	return b
}

// entry is one UAID's state.
type entry struct {
	marks  marks
	tries  uint8   // UPDATEs that were not acknowledged in time
	flight *flight // while flying
}

type marks uint8

const (
	held   marks = 1 << iota // by this device connection
	dirty                    // to be looked up
	again                    // rung while flying
	queued                   // stands in board.queue
)

// scan is a relay's walk over everything that waits for it.
type scan struct {
	on      bool
	after   edition.Key
	again   bool           // from the start, once this walk is through
	reading bool           // the store is being read for it
	landed  edition.Update // meanwhile: the walk may have found it before
}

// maxDirty bounds a relay's dirty UAIDs; beyond, everything is scanned again.
const maxDirty = 16 << 10

func (b *board) entry(uaid edition.UAID) *entry {
	if b.many != nil {
		return b.many[uaid]
	}
	if b.first.marks&held != 0 && b.one == uaid {
		return &b.first
	}
	return nil
}

// holds reports whether this device connection holds uaid.
func (b *board) holds(uaid edition.UAID) bool {
	e := b.entry(uaid)
	return e != nil && e.marks&held != 0
}

// count returns how many UAIDs a device connection holds.
func (b *board) count() int {
	if b.many != nil {
		return len(b.many)
	}
	return int(b.first.marks & held)
}

// hold adds a UAID to a device connection.
func (b *board) hold(uaid edition.UAID) {
	switch {
	case b.entry(uaid) != nil:
	case b.count() == 0 && b.many == nil:
		b.one, b.first = uaid, entry{marks: held}
	default:
		if b.many == nil {
			e := b.first
			b.many, b.first = map[edition.UAID]*entry{b.one: &e}, entry{}
			if e.marks&dirty != 0 {
				b.push(b.one, &e)
			}
		}
		b.many[uaid] = &entry{marks: held}
	}
}

// drop takes a UAID away, with what is in flight for it.
func (b *board) drop(uaid edition.UAID) {
	e := b.entry(uaid)
	if e == nil {
		return
	}
	if f := e.flight; f != nil && f.made {
		for _, ev := range f.of(uaid) {
			f.land(ev)
		}
		b.settle(f)
	}
	if b.many != nil {
		delete(b.many, uaid)
	} else {
		b.first = entry{}
	}
}

// all returns the UAIDs that a device connection holds.
func (b *board) all() []edition.UAID {
	if b.many == nil {
		return []edition.UAID{b.one}[:b.count()]
	}
	out := make([]edition.UAID, 0, len(b.many))
	for uaid := range b.many {
		out = append(out, uaid)
	}
	return out
}

// ring notes that something may wait for uaid. It is false when the UAID is
// not held here.
func (b *board) ring(uaid edition.UAID) bool {
	e := b.entry(uaid)
	if e == nil {
		if !b.relay {
			return false
		}
		if len(b.many) >= maxDirty {
			b.rescan()
			return true
		}
		e = &entry{}
		b.many[uaid] = e
	}
	if e.flight != nil {
		e.marks |= again
		return true
	}
	e.marks |= dirty
	if b.many != nil {
		b.push(uaid, e)
	}
	return true
}

func (b *board) push(uaid edition.UAID, e *entry) {
	if e.marks&queued == 0 {
		e.marks |= queued
		b.queue = append(b.queue, uaid)
	}
}

// rescan starts a relay's walk from the beginning, after a walk that is going on.
func (b *board) rescan() {
	if b.scan.on {
		b.scan.again = true
	} else {
		b.scan = scan{on: true}
	}
}

// read begins the reading of a walk's next part, if there is a walk; claim ends
// it.
func (b *board) read() { b.scan.reading, b.scan.landed = b.scan.on, b.scan.landed[:0] }

// walked notes how far a relay's walk has come.
func (b *board) walked(next edition.Key, more bool) {
	switch {
	case more:
		b.scan.after = next
	case b.scan.again:
		b.scan = scan{on: true}
	default:
		b.scan = scan{}
	}
}

// ready reports whether there is something to look up and room to send it.
// window bounds the UPDATEs in flight, 0 is no bound.
func (b *board) ready(window int) bool {
	if window > 0 && len(b.flights) >= window {
		return false
	}
	if b.many == nil {
		return b.first.marks&dirty != 0
	}
	return len(b.queue) > 0 || b.scan.on
}

// begin opens the next flight.
func (b *board) begin() *flight {
	f := b.spare
	b.spare = nil
	if f == nil {
		f = new(flight)
	}
	*f = flight{events: f.events[:0]}
	b.flights = append(b.flights, f)
	return f
}

// take moves at most n dirty UAIDs into a flight, and appends them to dst.
// From now on a ring for one of them means again.
func (b *board) take(dst []edition.UAID, f *flight, n int) []edition.UAID {
	if b.many == nil {
		if b.first.marks&dirty != 0 {
			b.first.marks &^= dirty
			b.first.flight = f
			dst = append(dst, b.one)
		}
		return dst
	}
	i := 0
	for ; i < len(b.queue) && len(dst) < n; i++ {
		uaid := b.queue[i]
		e := b.many[uaid]
		if e == nil {
			continue
		}
		e.marks &^= queued
		switch {
		case e.marks&dirty != 0:
			e.marks &^= dirty
			e.flight = f
			dst = append(dst, uaid)
		case b.relay && e.flight == nil:
			delete(b.many, uaid)
		}
	}
	b.queue = b.queue[i:]
	if len(b.queue) == 0 {
		b.queue = nil
	}
	return dst
}

// claim moves the UAIDs of what a scan has found into a flight, leaves out
// those that are flying and what has landed since, and returns the rest.
func (b *board) claim(f *flight, found edition.Update) edition.Update {
	landed := b.scan.landed
	slices.SortFunc(landed, func(a, b edition.Event) int { return a.Key.Compare(b.Key) })
	b.scan.reading = false
	out := found[:0]
	for _, ev := range found {
		for len(landed) > 0 && landed[0].Key.Compare(ev.Key) < 0 {
			landed = landed[1:]
		}
		if len(landed) > 0 && landed[0] == ev {
			continue
		}
		e := b.many[ev.UAID]
		switch {
		case e == nil:
			e = &entry{flight: f}
			b.many[ev.UAID] = e
		case e.flight == nil:
			e.flight = f
			if e.marks&dirty != 0 {
				e.marks = e.marks&^dirty | again
			}
		case e.flight != f:
			e.marks |= again
			continue
		}
		out = append(out, ev)
	}
	return out
}

// release ends the flying of a UAID: it is idle, or dirty when it was rung
// meanwhile.
func (b *board) release(uaid edition.UAID, e *entry) {
	e.flight = nil
	switch {
	case e.marks&again != 0:
		e.marks = e.marks&^again | dirty
		if b.many != nil {
			b.push(uaid, e)
		}
	case b.relay && e.marks&(dirty|queued) == 0:
		delete(b.many, uaid)
	}
}

// launch puts the events into the flight that is about to be written, and
// returns those that really fly: a UAID may have been lost meanwhile. What was
// claimed and does not fly is released. rest names the first UAID of which not
// everything fits: it and the claimed ones behind it are to be looked at again.
func (b *board) launch(f *flight, claimed []edition.UAID, events edition.Update, rest *edition.UAID) edition.Update {
	out := events[:0]
	for _, ev := range events {
		if e := b.entry(ev.UAID); e != nil && e.flight == f {
			out = append(out, ev)
		}
	}
	f.events, f.left, f.made = append(f.events, out...), len(out), true
	if f.left > 0 {
		b.lastID++
		f.id = b.lastID
	}
	for _, uaid := range claimed {
		e := b.entry(uaid)
		if e == nil || e.flight != f {
			continue
		}
		if rest != nil && uaid.Compare(*rest) >= 0 {
			e.marks |= again
		}
		if len(f.of(uaid)) == 0 {
			b.release(uaid, e)
		}
	}
	b.settle(f)
	return out
}

// tries returns the most that any UAID of a flight was sent in vain.
func (b *board) tries(f *flight) (n uint8) {
	for i, ev := range f.events {
		if i == 0 || ev.UAID != f.events[i-1].UAID {
			if e := b.entry(ev.UAID); e != nil {
				n = max(n, e.tries)
			}
		}
	}
	return n
}

// land notes what an ack named. UAIDs with nothing left in flight are
// released. It returns how many events have landed.
func (b *board) land(acked edition.Update) (n int) {
	for i, ev := range acked {
		e := b.entry(ev.UAID)
		if e == nil || e.flight == nil || !e.flight.made {
			continue
		}
		f := e.flight
		if f.land(ev) {
			n++
			if b.scan.reading {
				b.scan.landed = append(b.scan.landed, ev)
			}
		}
		if last := i+1 == len(acked) || acked[i+1].UAID != ev.UAID; last && f.flown(ev.UAID) {
			e.tries = 0
			b.release(ev.UAID, e)
			b.settle(f)
		}
	}
	return n
}

// settle retires a flight that has landed whole.
func (b *board) settle(f *flight) {
	if f.left == 0 {
		b.retire(f)
	}
}

func (b *board) retire(f *flight) {
	if i := slices.Index(b.flights, f); i >= 0 {
		b.flights = slices.Delete(b.flights, i, i+1)
	}
	if cap(f.events) <= 16 {
		b.spare = f
	}
}

// inFlight appends what is in flight by an UPDATE's id, or for UAIDs (of that
// UPDATE, when the id is not 0).
func (b *board) inFlight(dst edition.Update, id uint64, uaids []edition.UAID) edition.Update {
	if uaids == nil {
		for _, f := range b.flights {
			if f.id == id {
				dst = f.appendLeft(dst, f.events)
			}
		}
		return dst
	}
	for _, uaid := range uaids {
		if e := b.entry(uaid); e != nil && e.flight != nil && (id == 0 || e.flight.id == id) {
			dst = e.flight.appendLeft(dst, e.flight.of(uaid))
		}
	}
	return dst.Normalize()
}

// expire makes the UAIDs of flights that are overdue dirty again, and returns
// how many flights that were.
func (b *board) expire(now time.Duration) (n int) {
	for i := 0; i < len(b.flights); {
		f := b.flights[i]
		if !f.made || now < f.due {
			i++
			continue
		}
		n++
		for j, ev := range f.events {
			if j > 0 && ev.UAID == f.events[j-1].UAID || f.flown(ev.UAID) {
				continue
			}
			if e := b.entry(ev.UAID); e != nil && e.flight == f {
				e.tries = min(e.tries+1, 32)
				e.marks |= again
				b.release(ev.UAID, e)
			}
		}
		b.retire(f)
	}
	return n
}
