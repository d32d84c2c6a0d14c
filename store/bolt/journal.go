package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// replay reads the journal into memory: all that the tables do not have, or
// have only in an older state.
func (s *Store) replay(tx *bbolt.Tx) error {
	f := &s.fold
	c := tx.Cursor()
	for name, _ := c.Seek(journalPrefix); bytes.HasPrefix(name, journalPrefix); name, _ = c.Next() {
		if len(name) != len(journalPrefix)+4 {
			return fmt.Errorf("%w: %q is not the name of a journal", errRecord, name)
		}
		seg := binary.BigEndian.Uint32(name[len(journalPrefix):])
		err := tx.Bucket(name).ForEach(func(k, v []byte) error {
			if len(k) != 8 {
				return errRecord
			}
			s.commits = max(s.commits, binary.BigEndian.Uint64(k))
			f.kept += int64(len(v))
			return s.replayValue(k, v, seg)
		})
		if err != nil {
			return err
		}
		f.old = append(f.old, seg)
		f.seg = seg
	}
	f.seg++
	return nil
}

func (s *Store) replayValue(key, value []byte, seg uint32) error {
	body, err := unseal(key, value)
	if err != nil {
		return err
	}
	return readJournal(body, func(k edition.Key, r row) {
		r.seg = seg
		sh := &s.shards[shardOf(k.UAID)]
		if !r.is(hasBody) {
			delete(sh.bodies, k)
		}
		if x, ok := sh.find(k); ok {
			x.set(r)
		} else {
			sh.insert(k, r)
		}
	}, func(u edition.UAID, a *agent) {
		a.seg = seg
		if len(a.routes) > 0 {
			s.routed.add(u)
		}
		s.keepAgent(&s.shards[shardOf(u)], u, a)
	}, func(k edition.Key, b *edition.Body) {
		sh := &s.shards[shardOf(k.UAID)]
		if sh.bodies == nil {
			sh.bodies = make(map[edition.Key]*edition.Body)
		}
		sh.bodies[k] = b
	})
}

// readJournal reads the records of a journal value's body.
func readJournal(b []byte, row func(edition.Key, row), agent func(edition.UAID, *agent), body func(edition.Key, *edition.Body)) error {
	for len(b) > 0 {
		switch kind := b[0]; {
		case kind == recordRow && len(b) > keySize:
			r, _, rest, err := readRow(b[1+keySize:])
			if err != nil {
				return err
			}
			row(keyOf(b[1:]), r)
			b = rest
		case kind == recordAgent && len(b) > 16:
			a, rest, err := readAgent(b[17:])
			if err != nil {
				return err
			}
			agent(edition.UAID(b[1:17]), a)
			b = rest
		case kind == recordBody && len(b) > keySize:
			carried, rest, err := readBody(b[1+keySize:])
			if err != nil {
				return err
			}
			body(keyOf(b[1:]), carried)
			b = rest
		default:
			return errRecord
		}
	}
	return nil
}
