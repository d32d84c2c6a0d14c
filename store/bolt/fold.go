package bolt

import (
	"slices"
	"time"

	"github.com/edition-push/edition"
)

// fold is the state of the sweep that moves what the journal has into the
// tables. Owned by Run.
type fold struct {
	seg   uint32   // the segment that commits append to
	old   []uint32 // segments that the sweep will drop at its end
	bytes int64    // length of the segment appended to
	kept  int64    // length of the old ones

	active  bool
	evict   bool          // drop rows from memory once they are in the tables
	at      edition.Key   // swept up to here
	floor   int           // rows in memory that the last sweep could not evict
	budget  int           // rows a slice, adapted to sliceTime
	plain   time.Duration // how long commits without a slice take
	busy    int64         // ticks: when a commit last had something to write
	closing int64         // ticks: fold all until then; 0 while running
	final   bool          // a sweep has begun since closing
}

const (
	// rowSize is what a row takes in its table, about, in bytes: the measure
	// for bodies in a slice.
	rowSize = 64
	// sliceTime is how long a slice may hold up a commit.
	sliceTime = 10 * time.Millisecond
	minSlice  = 64
	maxSlice  = 16384
	// idleEvery is how often an idle store looks whether to fold, and
	// idleAfter how long nothing must have been written, in milliseconds.
	idleEvery = 1000
	idleAfter = 1000
	// idleFold is the length of a journal worth folding while idle.
	idleFold = 1 << 20
	// evictSlack is by how much the rows in memory must have grown since the
	// last sweep before another one is worth it: 1/8.
	evictSlack = 8
)

// finish lets slices be large and sweeps follow each other until nothing is in
// the journal, or the time has come.
func (f *fold) finish(until int64) { f.closing, f.budget = until, maxSlice }

// memoryRows counts the rows in memory.
func (s *Store) memoryRows() (n int) {
	for i := range s.shards {
		n += int(s.shards[i].rows.Load())
	}
	return n
}

// begins reports whether a sweep is to begin, and sets it up.
func (s *Store) begins(c *commit, now int64) bool {
	f := &s.fold
	rows := s.memoryRows()
	s.metrics.rows.Set(float64(rows))
	s.metrics.journal.Set(float64(f.bytes + f.kept))
	full := rows >= s.options.MemoryRows && rows >= f.floor+f.floor/evictSlack
	switch {
	case f.closing > 0:
		if f.final && f.bytes+f.kept == 0 || now > f.closing {
			return false
		}
		f.final = true
	case full, f.bytes+f.kept >= s.options.JournalBytes:
	case f.bytes+f.kept >= idleFold && c.nothing() && now-f.busy > idleAfter:
	default:
		return false
	}
	f.active, f.evict, f.at = true, rows >= s.options.MemoryRows/2, edition.Key{}
	if f.bytes > 0 {
		f.old = append(f.old, f.seg)
		f.seg++
		f.kept, f.bytes = f.kept+f.bytes, 0
	}
	return true
}

// slice is the part of a sweep that goes into one commit.
type slice struct {
	active bool
	last   bool        // the sweep ends with it
	from   edition.Key // where it begins: a commit that fails leads back here
	rows   []entry
	bodies []foldedBody
	agents []foldedAgent
}

// foldedAgent is the image of a device that goes into its table.
type foldedAgent struct {
	uaid    edition.UAID
	changes uint32
	gone    bool
	value   []byte
}

func (sl *slice) reset() {
	clear(sl.bodies)
	*sl = slice{rows: sl.rows[:0], bodies: sl.bodies[:0], agents: sl.agents[:0]}
}

// slice adds the next slice of a sweep to a commit that has been built, if it
// is time for one.
func (s *Store) slice(c *commit, now int64) {
	f := &s.fold
	if !c.nothing() {
		f.busy = now
	}
	if !f.active && !s.begins(c, now) {
		return
	}
	sl := &c.slice
	sl.active, sl.from = true, f.at
	left := f.budget
	for i := shardOf(f.at.UAID); i < shards; i++ {
		sh := &s.shards[i]
		sh.mu.Lock()
		full := s.sliceShard(sh, c, f, left)
		sh.mu.Unlock()
		if full {
			return
		}
		left = f.budget - len(sl.rows) - len(sl.agents)
		if i+1 < shards {
			f.at = edition.Key{UAID: edition.UAID{byte((i + 1) >> (shardBits - 8)), byte((i + 1) << (16 - shardBits))}}
		}
		if left <= 0 && i+1 < shards {
			return
		}
	}
	sl.last = true
}

// sliceShard takes what is to be folded of one shard, from f.at on. It reports
// whether it took as much as is left of the slice and did not come to the
// shard's end.
//
// A row that must be journaled and has an older image in a segment that the
// sweep drops goes into this commit's journal value; one that has been
// journaled since the sweep began is for the next sweep.
func (s *Store) sliceShard(sh *shard, c *commit, f *fold, left int) (full bool) {
	sl := &c.slice
	isOld := func(seg uint32) bool { return seg != 0 && seg != f.seg }
	if f.at.AppID == (edition.AppID{}) { // at the shard's beginning
		n := len(sl.agents)
		for u, a := range sh.agents {
			switch {
			case a.writing:
			case a.dirty:
				if isOld(a.seg) {
					c.journalAgent(u, a)
				}
			case a.seg != f.seg:
				v := seal(u[:], appendAgent(make([]byte, headSize, 128), a))
				sl.agents = append(sl.agents, foldedAgent{u, a.changes, a.gone, v})
				left--
			}
		}
		slices.SortFunc(sl.agents[n:], func(a, b foldedAgent) int { return a.uaid.Compare(b.uaid) })
	}
	var drop []edition.Key
	for x := range sh.from(f.at) {
		if left <= 0 {
			full = true
			break
		}
		r := x.row()
		f.at = x.key()
		switch {
		case r.is(isWriting):
		case r.is(mustJournal):
			if isOld(r.seg) {
				c.journal(sh, x)
			}
		case r.seg == f.seg:
		case r.seg != 0 || r.is(isSoft):
			sl.rows = append(sl.rows, entry{f.at, r})
			left--
			if b := sh.bodies[f.at]; b != nil {
				sl.bodies = append(sl.bodies, imageOf(f.at, b))
				left -= b.Size() / rowSize
			}
		case f.evict:
			drop = append(drop, f.at)
		}
	}
	if len(drop) > 0 {
		s.evictions.Add(1)
	}
	for _, k := range drop {
		sh.remove(k)
	}
	return full
}

// finishSlice notes that a slice is on disk.
func (s *Store) finishSlice(sl *slice) {
	if !sl.active {
		return
	}
	f := &s.fold
	s.evictions.Add(1)
	for i := 0; i < len(sl.rows); {
		n := shardOf(sl.rows[i].key.UAID)
		sh := &s.shards[n]
		sh.mu.Lock()
		for ; i < len(sl.rows) && shardOf(sl.rows[i].key.UAID) == n; i++ {
			s.folded(sh, &sl.rows[i], f.evict)
		}
		sh.mu.Unlock()
	}
	for _, a := range sl.agents {
		sh := &s.shards[shardOf(a.uaid)]
		sh.mu.Lock()
		if now := sh.agents[a.uaid]; now != nil && now.changes == a.changes {
			delete(sh.agents, a.uaid)
		}
		sh.mu.Unlock()
	}
	s.metrics.folded.Add(float64(len(sl.rows)))
	if sl.last {
		f.active, f.old, f.kept = false, nil, 0
		f.floor = s.memoryRows()
	}
}

// folded notes that an image of a row is in the table.
func (s *Store) folded(sh *shard, img *entry, evict bool) {
	x, ok := sh.find(img.key)
	if !ok {
		return
	}
	r := x.row()
	now, then := r, img.row
	now.clear(isWhole)
	then.clear(isWhole)
	switch {
	case now != then:
		r.seg = 0
		x.set(r)
	case evict || !r.is(isLive):
		sh.remove(img.key)
	default:
		r.seg = 0
		r.clear(isSoft)
		x.set(r)
	}
	if now == then {
		delete(sh.bodies, img.key) // it is in its table now
	}
}

// pace adapts the size of slices to the time that this one took, above that of
// a commit without one. A sweep that is needed moves on faster than rows come.
func (s *Store) pace(c *commit) {
	f := &s.fold
	n := len(c.slice.rows) + len(c.slice.agents)
	switch {
	case !c.slice.active:
		f.plain += (c.took - f.plain) / 16
		return
	case f.closing > 0 || n < f.budget/2:
		return
	case c.took-f.plain > 2*sliceTime:
		f.budget /= 2
	case c.took-f.plain < sliceTime:
		f.budget += f.budget / 4
	}
	f.budget = min(maxSlice, max(minSlice, f.budget))
	if s.pressed() {
		f.budget = max(f.budget, 2*len(c.images))
	}
}

// pressed reports whether the sweep under way is needed, not only useful.
func (s *Store) pressed() bool { return s.fold.evict || s.fold.kept >= s.options.JournalBytes/2 }
