package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime/debug"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// The tables. Only folds write apps, agents, due, held and reports; the
// journal has what they do not have yet.
var (
	tableMeta      = []byte("meta")      // format, id
	tableAgents    = []byte("agents")    // UAID → agent
	tableApps      = []byte("apps")      // UAID AppID → row
	tableDue       = []byte("due")       // owner UAID AppID: pending, to be sent
	tableHeld      = []byte("held")      // owner epoch UAID AppID: pending, reported stored or refused
	tableReports   = []byte("reports")   // upstream UAID AppID: delivered, to be reported
	tableRelays    = []byte("relays")    // number → party
	tableUpstreams = []byte("upstreams") // number → party
	tableBodies    = []byte("bodies")    // UAID AppID → what a pending row carries

	tables = [][]byte{tableMeta, tableAgents, tableApps, tableDue, tableHeld, tableReports, tableRelays, tableUpstreams, tableBodies}

	keyFormat = []byte("format")
	keyID     = []byte("id")
	keyProbe  = []byte("probe")

	journalPrefix = []byte("journal ") // and the segment's number
)

// read runs a function in a short read transaction. A page that the disk does
// not give back is an error, not the end of the process.
func (s *Store) read(f func(tx *bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: reading %s: %v", edition.ErrDisk, s.path, r)
		}
	}()
	return s.db.View(f)
}

// tableRow reads a row from its table. Marks of a lapsed epoch are left out.
func (s *Store) tableRow(apps *bbolt.Bucket, k edition.Key) (row, bool, error) {
	var buf [keySize]byte
	key := appendKey(buf[:0], k)
	v := apps.Get(key)
	if v == nil {
		return row{}, false, nil
	}
	r, err := s.decodeRow(key, v)
	return r, err == nil, err
}

func (s *Store) decodeRow(key, value []byte) (row, error) {
	body, err := unseal(key, value)
	if err != nil {
		return row{}, err
	}
	r, epoch, rest, err := readRow(body)
	if err != nil || len(rest) > 0 || !r.is(isLive) {
		return row{}, fmt.Errorf("%w (key %.12x…)", errRecord, key)
	}
	if r.owner != edition.Direct && r.is(isHeld) && epoch != s.relays.epoch(uint32(r.owner)) {
		r.clear(isHeld)
	}
	return r, nil
}

// find returns the row of a key, from memory or from the tables, and adds it
// to memory then. The shard is locked.
func (s *Store) find(sh *shard, k edition.Key) (x cell, ok bool, err error) {
	if x, ok = sh.find(k); ok {
		return x, x.c.entries[x.i].row.is(isLive), nil
	}
	if sh.whole(k.UAID) {
		return x, false, nil
	}
	var r row
	err = s.read(func(tx *bbolt.Tx) error {
		r, ok, err = s.tableRow(tx.Bucket(tableApps), k)
		return err
	})
	if !ok || err != nil {
		return x, false, err
	}
	return sh.insert(k, r), true, nil
}

// findDevice sees to it that all rows of a device are in memory. The shard is
// locked.
func (s *Store) findDevice(sh *shard, u edition.UAID) error {
	if sh.whole(u) {
		return nil
	}
	var rows []entry
	err := s.read(func(tx *bbolt.Tx) (err error) {
		rows, err = s.deviceRows(tx, u)
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range rows {
		if _, ok := sh.find(e.key); !ok {
			sh.insert(e.key, e.row)
		}
	}
	for x := range sh.device(u) {
		r := x.row()
		r.set(isWhole)
		x.set(r)
	}
	return nil
}

// deviceRows reads the rows of a device from its table.
func (s *Store) deviceRows(tx *bbolt.Tx, u edition.UAID) (rows []entry, err error) {
	c := tx.Bucket(tableApps).Cursor()
	for k, v := c.Seek(u[:]); len(k) == keySize && edition.UAID(k[:16]) == u; k, v = c.Next() {
		r, err := s.decodeRow(k, v)
		if err != nil {
			return nil, err
		}
		rows = append(rows, entry{keyOf(k), r})
	}
	return rows, nil
}

// warm brings the rows that an update names into memory, all in one read
// transaction: what find would do one by one. It calls visit, if that is not
// nil, once for each that there is, in no order, with its shard locked.
func (s *Store) warm(u edition.Update, visit func(sh *shard, i int, x cell)) error {
	type miss struct {
		i   int
		gen uint32
		row row
		ok  bool
	}
	var missing []miss
	for i := 0; i < len(u); {
		n := shardOf(u[i].UAID)
		sh := &s.shards[n]
		sh.mu.Lock()
		for ; i < len(u) && shardOf(u[i].UAID) == n; i++ {
			x, ok := sh.find(u[i].Key)
			switch {
			case !ok:
				if missing == nil {
					missing = make([]miss, 0, len(u)-i)
				}
				missing = append(missing, miss{i: i, gen: sh.gen})
			case visit != nil && x.c.entries[x.i].row.is(isLive):
				visit(sh, i, x)
			}
		}
		sh.mu.Unlock()
	}
	if len(missing) == 0 {
		return nil
	}
	err := s.read(func(tx *bbolt.Tx) (err error) {
		apps := rowCursor{s: s, c: tx.Bucket(tableApps).Cursor()}
		for i := range missing {
			m := &missing[i]
			if m.row, m.ok, err = apps.get(u[m.i].Key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for j := 0; j < len(missing); {
		n := shardOf(u[missing[j].i].UAID)
		sh := &s.shards[n]
		sh.mu.Lock()
		for ; j < len(missing) && shardOf(u[missing[j].i].UAID) == n; j++ {
			m := &missing[j]
			x, ok := sh.find(u[m.i].Key)
			switch {
			case ok:
				ok = x.c.entries[x.i].row.is(isLive)
			case sh.gen != m.gen: // what was read may be old
				if x, ok, err = s.find(sh, u[m.i].Key); err != nil {
					sh.mu.Unlock()
					return err
				}
			case m.ok:
				x, ok = sh.insert(u[m.i].Key, m.row), true
			}
			if ok && visit != nil {
				visit(sh, m.i, x)
			}
		}
		sh.mu.Unlock()
	}
	return nil
}

// rowCursor reads rows from their table. It is fastest when keys ascend and
// lie near each other.
type rowCursor struct {
	s    *Store
	c    *bbolt.Cursor
	k, v []byte
}

// nearBy is how many rows a rowCursor passes over before it seeks anew.
const nearBy = 3

// value returns what the table has for a key, or nil.
func (c *rowCursor) value(key []byte) []byte {
	for range nearBy {
		if c.k == nil || bytes.Compare(c.k, key) >= 0 {
			break
		}
		c.k, c.v = c.c.Next()
	}
	if c.k == nil || !bytes.Equal(c.k, key) {
		c.k, c.v = c.c.Seek(key)
	}
	if !bytes.Equal(c.k, key) {
		return nil
	}
	return c.v
}

func (c *rowCursor) get(k edition.Key) (row, bool, error) {
	var buf [keySize]byte
	key := appendKey(buf[:0], k)
	v := c.value(key)
	if v == nil {
		return row{}, false, nil
	}
	r, err := c.s.decodeRow(key, v)
	return r, err == nil, err
}

// findAgent returns a device from memory or from its table, or nil. What comes
// from the table is not kept: keepAgent does. The shard is locked.
func (s *Store) findAgent(sh *shard, u edition.UAID) (*agent, error) {
	if a := sh.agents[u]; a != nil {
		if a.gone {
			return nil, nil
		}
		return a, nil
	}
	var a *agent
	err := s.read(func(tx *bbolt.Tx) error {
		v := tx.Bucket(tableAgents).Get(u[:])
		if v == nil {
			return nil
		}
		body, err := unseal(u[:], v)
		if err == nil {
			a, _, err = readAgent(body)
		}
		return err
	})
	return a, err
}

// keepAgent puts a device's agent, which is about to change, into memory, in
// the place of a tombstone maybe. The shard is locked.
func (s *Store) keepAgent(sh *shard, u edition.UAID, a *agent) {
	if sh.agents == nil {
		sh.agents = make(map[edition.UAID]*agent)
	}
	if old := sh.agents[u]; old != nil {
		a.seg = old.seg
	}
	sh.agents[u] = a
}

func journalName(seg uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), journalPrefix...), seg)
}
