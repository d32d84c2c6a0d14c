package bolt

import (
	"bytes"
	"encoding/binary"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// search says which rows a scan is after: those in memory that match, and
// those that an index in the file lists and memory knows nothing newer of.
type search struct {
	s     *Store
	match func(*row) bool
	holds func(*chunk) bool                // false: no row of the chunk matches
	index func(tx *bbolt.Tx) []indexCursor // where the tables list them
}

// passLimit is how many rows one call passes over before it returns early.
const passLimit = 1 << 16

// find appends to dst, in key order, at most limit entries that lie after a
// key. next is where to go on; more is false at the end.
//
// It looks at memory first and at the tables then, so that a row on its way
// from memory to a table is not missed; what a table lists counts only if
// memory has no row for it.
func (q search) find(dst []entry, after edition.Key, limit int) (out []entry, next edition.Key, more bool, err error) {
	mem, memTo, memEnd := q.memory(after, limit)
	evictions := q.s.evictions.Load()
	var tab []entry
	var tabTo edition.Key
	tabEnd := false
	err = q.s.read(func(tx *bbolt.Tx) (err error) {
		tab, tabTo, tabEnd, err = q.tables(tx, after, limit)
		return err
	})
	if err != nil {
		return dst, after, false, err
	}
	next, more = after, !memEnd || !tabEnd
	to := func(k *edition.Key) bool {
		return (memEnd || compareKeys(k, &memTo) <= 0) && (tabEnd || compareKeys(k, &tabTo) <= 0)
	}
	for len(mem)+len(tab) > 0 {
		fromMem := len(tab) == 0 || len(mem) > 0 && compareKeys(&mem[0].key, &tab[0].key) <= 0
		var e entry
		if fromMem {
			e = mem[0]
		} else {
			e = tab[0]
		}
		if !to(&e.key) {
			break
		}
		if limit == 0 {
			return dst, next, true, nil
		}
		ok := true
		if fromMem {
			if mem = mem[1:]; len(tab) > 0 && tab[0].key == e.key {
				tab = tab[1:]
			}
		} else {
			tab = tab[1:]
			if ok, err = q.current(&e, evictions); err != nil {
				return dst, next, false, err
			}
		}
		next = e.key
		if ok {
			dst = append(dst, e)
			limit--
		}
	}
	if more { // go on from where both sides have been read to
		switch {
		case memEnd, !tabEnd && compareKeys(&tabTo, &memTo) < 0:
			next = tabTo
		default:
			next = memTo
		}
	}
	return dst, next, more, nil
}

// current replaces the row, which a table gave, by the one in memory if there
// is one, and reports whether it matches. Where rows have left memory since
// the table was opened, it is read again: what it said may have been old.
func (q search) current(e *entry, evictions uint64) (bool, error) {
	sh := &q.s.shards[shardOf(e.key.UAID)]
	if sh.rows.Load() > 0 {
		sh.mu.Lock()
		x, ok := sh.find(e.key)
		if ok {
			e.row = x.row()
		}
		sh.mu.Unlock()
		if ok {
			return q.match(&e.row), nil
		}
	}
	if q.s.evictions.Load() == evictions {
		return true, nil
	}
	var ok bool
	var err error
	e.row, ok, err = q.s.peek(e.key)
	return ok && q.match(&e.row), err
}

// memory collects at most limit matching rows after a key, and says to which
// key it has looked, or that it came to the end.
func (q search) memory(after edition.Key, limit int) (out []entry, to edition.Key, end bool) {
	passed := 0
	for i := shardOf(after.UAID); i < shards; i++ {
		sh := &q.s.shards[i]
		if sh.rows.Load() == 0 {
			continue
		}
		sh.mu.Lock()
		si, j, found := sh.seek(&after)
		if found {
			j++
		}
		for ; si < len(sh.chunks); si, j = si+1, 0 {
			c := sh.chunks[si].chunk
			if passed++; !q.holds(c) {
				continue
			}
			for ; j < len(c.entries); j++ {
				e := &c.entries[j]
				passed++
				if !q.match(&e.row) {
					continue
				}
				if out = append(out, *e); len(out) == limit {
					sh.mu.Unlock()
					return out, out[limit-1].key, false
				}
			}
			if n := len(c.entries); n > 0 && passed > passLimit {
				to = c.entries[n-1].key
				sh.mu.Unlock()
				return out, to, false
			}
		}
		sh.mu.Unlock()
	}
	return out, to, true
}

// tables is memory's other half.
func (q search) tables(tx *bbolt.Tx, after edition.Key, limit int) (out []entry, to edition.Key, end bool, err error) {
	apps := ascent{c: tx.Bucket(tableApps).Cursor()}
	from := q.index(tx)
	var start [keySize]byte
	for i := range from {
		from[i].seek(appendKey(start[:0], after))
	}
	for passed := 0; ; passed++ {
		c := least(from)
		if c == nil {
			return out, to, true, nil
		}
		k := keyOf(c.key)
		c.next()
		if k == after || k == to {
			continue
		}
		to = k
		var r row
		value := apps.get(k)
		if value != nil {
			if r, err = q.s.decodeRow(apps.k, value); err != nil {
				return out, to, false, err
			}
		}
		if value != nil && q.match(&r) {
			if out = append(out, entry{k, r}); len(out) == limit {
				return out, to, false, nil
			}
		}
		if passed > passLimit {
			return out, to, false, nil
		}
	}
}

// ascent reads the values of rising keys. Those that follow each other in the
// table, as in a long scan, cost no search.
type ascent struct {
	c    *bbolt.Cursor
	k, v []byte // where the cursor is
}

func (a *ascent) get(key edition.Key) []byte {
	var buf [keySize]byte
	want := appendKey(buf[:0], key)
	for step := 0; a.k != nil && bytes.Compare(a.k, want) < 0 && step < ascentSteps; step++ {
		a.k, a.v = a.c.Next()
	}
	if a.k == nil || bytes.Compare(a.k, want) < 0 {
		a.k, a.v = a.c.Seek(want)
	}
	if !bytes.Equal(a.k, want) {
		return nil
	}
	return a.v
}

// ascentSteps is how far a search is put off: that many steps cost about as
// much.
const ascentSteps = 8

// indexCursor walks the keys that an index lists under a prefix.
type indexCursor struct {
	c      *bbolt.Cursor
	prefix []byte
	key    []byte // without the prefix; nil at the end
}

func (c *indexCursor) seek(key []byte) {
	k, _ := c.c.Seek(append(slices.Clone(c.prefix), key...))
	c.at(k)
}

func (c *indexCursor) next() {
	k, _ := c.c.Next()
	c.at(k)
}

func (c *indexCursor) at(k []byte) {
	if c.key = nil; len(k) == len(c.prefix)+keySize && bytes.HasPrefix(k, c.prefix) {
		c.key = k[len(c.prefix):]
	}
}

// least returns the cursor with the least key, or nil at the end of all.
func least(cs []indexCursor) (min *indexCursor) {
	for i := range cs {
		if c := &cs[i]; c.key != nil && (min == nil || bytes.Compare(c.key, min.key) < 0) {
			min = c
		}
	}
	return min
}

// dueAt is the search for what is to be sent to an owner.
func (s *Store) dueAt(owner edition.Owner) search {
	now := s.millis()
	return search{
		s:     s,
		match: func(r *row) bool { return r.isDue() && r.owner == owner && r.expires > now },
		holds: func(c *chunk) bool { return c.due > 0 },
		index: func(tx *bbolt.Tx) []indexCursor {
			prefix := binary.BigEndian.AppendUint32(nil, uint32(owner))
			cs := []indexCursor{{c: tx.Bucket(tableDue).Cursor(), prefix: prefix}}
			if owner == edition.Direct {
				return cs
			}
			// What was marked before the relay lost its store is due again.
			held := tx.Bucket(tableHeld)
			for epoch := uint32(0); epoch < s.relays.epoch(uint32(owner)); epoch++ {
				k, _ := held.Cursor().Seek(binary.BigEndian.AppendUint32(slices.Clone(prefix), epoch))
				if len(k) != 8+keySize || !bytes.HasPrefix(k, prefix) {
					break
				}
				if epoch = binary.BigEndian.Uint32(k[4:]); epoch < s.relays.epoch(uint32(owner)) {
					cs = append(cs, indexCursor{c: held.Cursor(), prefix: slices.Clone(k[:8])})
				}
			}
			return cs
		},
	}
}

// reportsTo is the search for what an upstream is to be told.
func (s *Store) reportsTo(up uint32) search {
	return search{
		s:     s,
		match: func(r *row) bool { return r.is(hasReport) && !r.is(mustSettle) && r.up == up },
		holds: func(c *chunk) bool { return c.reports > 0 },
		index: func(tx *bbolt.Tx) []indexCursor {
			return []indexCursor{{c: tx.Bucket(tableReports).Cursor(), prefix: binary.BigEndian.AppendUint32(nil, up)}}
		},
	}
}
