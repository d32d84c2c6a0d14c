package bolt

import (
	"encoding/binary"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// tableWriter writes rows into the tables and keeps the indexes in step.
type tableWriter struct {
	s                       *Store
	apps, due, held, report *bbolt.Bucket
	bodies                  *bbolt.Bucket
	key, index              []byte
}

func (s *Store) tableWriter(tx *bbolt.Tx) *tableWriter {
	return &tableWriter{
		s: s, apps: tx.Bucket(tableApps), due: tx.Bucket(tableDue), held: tx.Bucket(tableHeld), report: tx.Bucket(tableReports),
		bodies: tx.Bucket(tableBodies),
	}
}

// writeSlice writes a slice of a fold, and at its end drops the journal
// segments that it has made superfluous.
func (s *Store) writeSlice(tx *bbolt.Tx, sl *slice) error {
	w := s.tableWriter(tx)
	olds, err := w.read(sl.rows)
	if err != nil {
		return err
	}
	for i := range sl.rows {
		if err := w.write(&sl.rows[i], &olds[i]); err != nil {
			return err
		}
	}
	for i := range sl.bodies {
		if err := w.bodies.Put(appendKey(nil, sl.bodies[i].key), sl.bodies[i].value); err != nil {
			return err
		}
	}
	agents := tx.Bucket(tableAgents)
	for i := range sl.agents {
		a := &sl.agents[i]
		if a.gone {
			err = agents.Delete(a.uaid[:])
		} else {
			err = agents.Put(a.uaid[:], a.value)
		}
		if err != nil {
			return err
		}
	}
	if !sl.last {
		return nil
	}
	for _, seg := range s.fold.old {
		if tx.Bucket(journalName(seg)) == nil {
			continue
		}
		if err := tx.DeleteBucket(journalName(seg)); err != nil {
			return err
		}
	}
	return nil
}

// oldRow is what the table has before it is written.
type oldRow struct {
	row
	epoch uint32
}

// read reads what the table has for some rows, in passing, before the first is
// written: a cursor does not outlive a change.
func (w *tableWriter) read(rows []entry) ([]oldRow, error) {
	olds := make([]oldRow, len(rows))
	c := rowCursor{s: w.s, c: w.apps.Cursor()}
	for i := range rows {
		key := appendKey(w.key[:0], rows[i].key)
		w.key = key
		v := c.value(key)
		if v == nil {
			continue
		}
		body, err := unseal(key, v)
		if err != nil {
			return nil, err
		}
		if olds[i].row, olds[i].epoch, _, err = readRow(body); err != nil {
			return nil, err
		}
	}
	return olds, nil
}

// write brings the table of rows, and the indexes, to one row's state.
func (w *tableWriter) write(e *entry, old *oldRow) error {
	r := &e.row
	epoch := w.s.relays.epoch(uint32(r.owner))
	if err := w.relist(e.key, w.pendingPlace(&old.row, old.epoch), w.pendingPlace(r, epoch)); err != nil {
		return err
	}
	if err := w.relist(e.key, w.reportPlace(&old.row), w.reportPlace(r)); err != nil {
		return err
	}
	key := appendKey(w.key[:0], e.key)
	w.key = key
	if old.is(hasBody) && !r.is(hasBody) {
		if err := w.bodies.Delete(key); err != nil {
			return err
		}
	}
	if !r.is(isLive) {
		return w.apps.Delete(key)
	}
	return w.apps.Put(key, seal(key, appendRow(make([]byte, headSize, 48), r, inTable, epoch)))
}

// place says where an index lists a row: a bucket and a number of 4 or 8 bytes.
type place struct {
	b      *bbolt.Bucket
	prefix [8]byte
	n      int
}

func (w *tableWriter) pendingPlace(r *row, epoch uint32) (p place) {
	switch {
	case !r.is(isPending):
	case r.is(isHeld):
		p.b, p.n = w.held, 8
		binary.BigEndian.PutUint32(p.prefix[4:], epoch)
	default:
		p.b, p.n = w.due, 4
	}
	if p.b != nil {
		binary.BigEndian.PutUint32(p.prefix[:], uint32(r.owner))
	}
	return p
}

func (w *tableWriter) reportPlace(r *row) (p place) {
	switch {
	case r.is(hasReport):
		p.b, p.n = w.report, 4
		binary.BigEndian.PutUint32(p.prefix[:], r.up)
	case r.is(isKeptOn) && !r.is(isPending):
		p.b, p.n = w.report, 4 // of nobody: for the sweeper
	}
	return p
}

func (w *tableWriter) relist(k edition.Key, from, to place) error {
	if from == to {
		return nil
	}
	if from.b != nil {
		w.index = appendKey(append(w.index[:0], from.prefix[:from.n]...), k)
		if err := from.b.Delete(w.index); err != nil {
			return err
		}
	}
	if to.b == nil {
		return nil
	}
	w.index = appendKey(append(w.index[:0], to.prefix[:to.n]...), k)
	return to.b.Put(w.index, seal(w.index, make([]byte, headSize)))
}
