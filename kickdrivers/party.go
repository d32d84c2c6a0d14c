package kickdrivers

import "github.com/edition-push/edition"

// state says where a party stands, and so which list holds it.
type state uint8

const (
	free    state = iota // not a party: on the table's free list
	waiting              // on the wheel, for a first kick or a repeat
	looking              // in Run's hands
	queued               // on its entry's list, for the rate, a slot, or the breaker
	flying               // in the driver's hands
	cooling              // on the wheel: connected, but kicked too lately to be forgotten
	resting              // on the wheel: given up, or refused; looked at now and then
)

// party is one device or relay that something is due for. It holds no pointer,
// so that a million of them cost the garbage collector nothing.
type party struct {
	who      edition.Holder
	state    state
	entry    uint8  // the slot of the gate it was kicked through, or waits at; else noEntry
	leg      uint8  // the route to try next, in its list; 0: a round begins
	attempts uint16 // rounds since the event that made it due
	sent     bool   // a kick is on its way and nothing is known of its effect
	acking   bool   // it connected after a kick and has not acknowledged anything yet
	hope     bool   // in this round a kick was sent or may be another time
	barred   bool   // in this round a kick was refused
	given    bool   // no more attempts until a new event
	stopped  bool   // it connected while looking or flying
	again    bool   // a new event came while looking or flying, or between two routes

	next, prev int32 // in its list

	// Nanoseconds since the dispatcher was made.
	due   int64 // when the wheel fires; once stopped: when it connected
	first int64 // when it became due: the start of grace and give_up
	last  int64 // its last kick; 0: none
	pause int64 // the next round may not begin before
}

// renew starts the attempts over if a new event came.
func (p *party) renew() {
	if p.again {
		p.again, p.attempts, p.given = false, 0, false
	}
}

const (
	noEntry = 0xff
	none    = int32(-1)
)

// chunkSize is the number of parties that the table grows by.
const chunkSize = 1 << 12

// table holds the parties. It grows to its limit and does not shrink.
// Guarded by Dispatcher.mu.
type table struct {
	index  map[edition.Holder]int32
	chunks []*[chunkSize]party
	unused int32 // head of the free list, linked by next
	limit  int
	high   int32 // slots that were ever used
	hand   int32 // where the search for a party that can make room goes on
}

func (t *table) at(i int32) *party { return &t.chunks[i/chunkSize][i%chunkSize] }

func (t *table) size() int { return len(t.index) }

// add returns a fresh slot for who, or none when the table is full.
func (t *table) add(who edition.Holder) int32 {
	if len(t.index) >= t.limit {
		return none
	}
	if t.unused == none {
		base := int32(len(t.chunks) * chunkSize)
		c := new([chunkSize]party)
		for j := range c {
			c[j].next = base + int32(j) + 1
		}
		c[chunkSize-1].next = none
		t.chunks = append(t.chunks, c)
		t.unused = base
	}
	i := t.unused
	p := t.at(i)
	t.unused = p.next
	*p = party{who: who, entry: noEntry, next: none, prev: none}
	t.index[who] = i
	t.high = max(t.high, i+1)
	return i
}

// remove forgets a party that is on no list.
func (t *table) remove(i int32) {
	p := t.at(i)
	delete(t.index, p.who)
	*p = party{next: t.unused}
	t.unused = i
}

// sweepSteps bounds one search for room.
const sweepSteps = 64

// sweep returns a party that may make room for another, or none: one that was
// kicked, waits for the effect, and may by now be kicked again.
func (t *table) sweep(mayGo func(*party) bool) int32 {
	for range min(sweepSteps, t.high) {
		if t.hand++; t.hand >= t.high {
			t.hand = 0
		}
		if mayGo(t.at(t.hand)) {
			return t.hand
		}
	}
	return none
}

// list is a queue of parties, linked through the table.
type list struct {
	head, tail int32
	n          int
}

func newList() list { return list{head: none, tail: none} }

func (l *list) push(t *table, i int32) {
	p := t.at(i)
	p.next, p.prev = none, l.tail
	if l.tail == none {
		l.head = i
	} else {
		t.at(l.tail).next = i
	}
	l.tail = i
	l.n++
}

func (l *list) remove(t *table, i int32) {
	p := t.at(i)
	if p.prev == none {
		l.head = p.next
	} else {
		t.at(p.prev).next = p.next
	}
	if p.next == none {
		l.tail = p.prev
	} else {
		t.at(p.next).prev = p.prev
	}
	p.next, p.prev = none, none
	l.n--
}
