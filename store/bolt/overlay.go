package bolt

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/edition-push/edition"
)

// entry is one registration in memory.
type entry struct {
	key edition.Key
	row row
}

// shard is a part of the key space, in key order: all that is in memory of the
// devices whose UAID begins with the same ten bits. Its lock is never taken
// inside a bbolt transaction; a short read transaction may be opened inside
// the lock.
type shard struct {
	rows atomic.Int32 // how many; read without the lock to pass over empty ones

	// Guarded by mu.
	mu      sync.Mutex
	chunks  []span
	hint    int // the chunk that was looked at last
	agents  map[edition.UAID]*agent
	waiters map[edition.Key]*waiter
	bodies  map[edition.Key]*edition.Body // of pending rows, as far as their table does not have them
	gen     uint32                        // counts removals: a row that was read from a table without the lock may be old by then
}

// span is a chunk and a bound at or below its first key.
type span struct {
	first edition.Key
	*chunk
}

// chunk is a run of entries in key order. It counts those that scans look for.
type chunk struct {
	due     int // owners are to be sent something
	reports int // upstreams are to be told something
	entries []entry
}

const (
	shardBits = 10
	shards    = 1 << shardBits
	chunkSize = 128
)

// shardOf returns the number of a UAID's shard. Numbers ascend with UAIDs.
func shardOf(u edition.UAID) int { return int(binary.BigEndian.Uint16(u[:2]) >> (16 - shardBits)) }

func compareKeys(a, b *edition.Key) int {
	x, y := binary.BigEndian.Uint64(a.UAID[:8]), binary.BigEndian.Uint64(b.UAID[:8])
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	if c := bytes.Compare(a.UAID[8:], b.UAID[8:]); c != 0 {
		return c
	}
	return bytes.Compare(a.AppID[:], b.AppID[:])
}

// cell is the place of an entry. It is good until the next insert or remove.
type cell struct {
	c *chunk
	i int
}

func (x cell) key() edition.Key { return x.c.entries[x.i].key }

func (x cell) row() row { return x.c.entries[x.i].row }

// set replaces the row.
func (x cell) set(r row) {
	e := &x.c.entries[x.i]
	x.c.count(&e.row, -1)
	e.row = r
	x.c.count(&r, 1)
}

func (c *chunk) count(r *row, n int) {
	if r.isDue() {
		c.due += n
	}
	if r.is(hasReport) {
		c.reports += n
	}
}

// seek returns the number of the span and the place in it where a key is, or
// is to be inserted.
func (sh *shard) seek(k *edition.Key) (si, i int, found bool) {
	if len(sh.chunks) == 0 {
		return 0, 0, false
	}
	si = sh.hint // callers mostly go on where they were
	if si >= len(sh.chunks) || compareKeys(&sh.chunks[si].first, k) > 0 || si+1 < len(sh.chunks) && compareKeys(&sh.chunks[si+1].first, k) <= 0 {
		si = max(0, sort.Search(len(sh.chunks), func(i int) bool { return compareKeys(&sh.chunks[i].first, k) > 0 })-1)
		sh.hint = si
	}
	es := sh.chunks[si].entries
	lo, hi := 0, len(es)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		switch c := compareKeys(&es[m].key, k); {
		case c < 0:
			lo = m + 1
		case c > 0:
			hi = m
		default:
			return si, m, true
		}
	}
	return si, lo, false
}

func (sh *shard) find(k edition.Key) (cell, bool) {
	si, i, ok := sh.seek(&k)
	if !ok {
		return cell{}, false
	}
	return cell{sh.chunks[si].chunk, i}, true
}

// insert adds a row for a key that is not there.
func (sh *shard) insert(k edition.Key, r row) cell {
	if len(sh.chunks) == 0 {
		sh.chunks = append(sh.chunks, span{chunk: &chunk{entries: make([]entry, 0, 8)}})
	}
	si, i, _ := sh.seek(&k)
	c := sh.chunks[si].chunk
	if len(c.entries) == chunkSize {
		// Keys that arrive in order fill chunks; others halve them.
		at := chunkSize / 2
		if i == chunkSize {
			at = chunkSize
		}
		rest := &chunk{entries: append(make([]entry, 0, chunkSize), c.entries[at:]...)}
		for j := range rest.entries {
			c.count(&rest.entries[j].row, -1)
			rest.count(&rest.entries[j].row, 1)
		}
		c.entries = c.entries[:at]
		first := k
		if at < chunkSize {
			first = rest.entries[0].key
		}
		sh.chunks = slices.Insert(sh.chunks, si+1, span{first, rest})
		// A key that belongs between the halves ends the first one: the
		// second is found by a bound that is greater.
		if i > at || at == chunkSize {
			c, i = rest, i-at
		}
	}
	c.entries = slices.Insert(c.entries, i, entry{k, r})
	c.count(&r, 1)
	sh.rows.Add(1)
	return cell{c, i}
}

// remove takes an entry out. What was known of all its device's rows being in
// memory no longer holds, unless the row was a tombstone.
func (sh *shard) remove(k edition.Key) {
	si, i, ok := sh.seek(&k)
	if !ok {
		return
	}
	c := sh.chunks[si].chunk
	r := c.entries[i].row
	c.count(&r, -1)
	c.entries = slices.Delete(c.entries, i, i+1)
	if len(c.entries) == 0 {
		sh.chunks = slices.Delete(sh.chunks, si, si+1)
	}
	sh.rows.Add(-1)
	sh.gen++
	if r.is(isLive) && r.is(isWhole) {
		for x := range sh.device(k.UAID) {
			r := x.row()
			r.clear(isWhole)
			x.set(r)
		}
	}
}

// device ranges over the rows of a device, in order. Their rows may be set
// meanwhile, but none inserted or removed.
func (sh *shard) device(u edition.UAID) func(yield func(cell) bool) {
	return func(yield func(cell) bool) {
		for x := range sh.from(edition.Key{UAID: u}) {
			if x.c.entries[x.i].key.UAID != u || !yield(x) {
				return
			}
		}
	}
}

// from ranges over the rows at and after a key.
func (sh *shard) from(k edition.Key) func(yield func(cell) bool) {
	return func(yield func(cell) bool) {
		si, i, _ := sh.seek(&k)
		for ; si < len(sh.chunks); si, i = si+1, 0 {
			c := sh.chunks[si].chunk
			for ; i < len(c.entries); i++ {
				if !yield(cell{c, i}) {
					return
				}
			}
		}
	}
}

// whole reports whether all rows of a device are in memory; of one that has
// none there, it does not know.
func (sh *shard) whole(u edition.UAID) bool {
	for x := range sh.device(u) {
		return x.c.entries[x.i].row.is(isWhole)
	}
	return false
}

// active reports whether any row of a device is in memory.
func (sh *shard) active(u edition.UAID) bool {
	for range sh.device(u) {
		return true
	}
	return false
}
