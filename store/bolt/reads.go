package bolt

import (
	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// peek returns a row from memory or from its table, and leaves it there.
func (s *Store) peek(k edition.Key) (r row, ok bool, err error) {
	sh := &s.shards[shardOf(k.UAID)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if x, ok := sh.find(k); ok {
		r = x.row()
		return r, r.is(isLive), nil
	}
	err = s.read(func(tx *bbolt.Tx) error {
		r, ok, err = s.tableRow(tx.Bucket(tableApps), k)
		return err
	})
	return r, ok, err
}

// Pending implements edition.Store. A device of which something is in memory
// is brought there whole, so that the next look needs no table.
func (s *Store) Pending(dst edition.Update, owner edition.Owner, u edition.UAID) (edition.Update, error) {
	now := s.millis()
	take := func(k edition.Key, r *row) {
		if r.isDue() && r.owner == owner && r.expires > now {
			dst = append(dst, edition.Event{Key: k, Version: r.version})
		}
	}
	sh := &s.shards[shardOf(u)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.active(u) {
		err := s.read(func(tx *bbolt.Tx) error {
			rows, err := s.deviceRows(tx, u)
			for i := range rows {
				take(rows[i].key, &rows[i].row)
			}
			return err
		})
		return dst, err
	}
	if err := s.findDevice(sh, u); err != nil {
		return dst, err
	}
	for x := range sh.device(u) {
		e := &x.c.entries[x.i]
		take(e.key, &e.row)
	}
	return dst, nil
}

// Scan implements edition.Store.
func (s *Store) Scan(dst edition.Update, owner edition.Owner, after edition.Key, limit int) (edition.Update, edition.Key, bool, error) {
	if limit <= 0 {
		return dst, after, true, nil
	}
	found, next, more, err := s.dueAt(owner).find(nil, after, limit)
	for i := range found {
		dst = append(dst, edition.Event{Key: found[i].key, Version: found[i].row.version})
	}
	return dst, next, more, err
}

// Reports implements edition.Store.
func (s *Store) Reports(dst edition.Update, upstream string, after edition.Key, limit int) (edition.Update, error) {
	up := s.upstreams.known(upstream)
	if up == 0 {
		return dst, nil
	}
	for more := true; more && limit > 0; {
		var found []entry
		var err error
		if found, after, more, err = s.reportsTo(up).find(nil, after, limit); err != nil {
			return dst, err
		}
		for i := range found {
			dst = append(dst, edition.Event{Key: found[i].key, Version: found[i].row.high})
		}
		limit -= len(found)
	}
	return dst, nil
}

// lastApp is at or above every AppID.
var lastApp = edition.AppID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Due implements edition.Store.
func (s *Store) Due(dst []edition.Holder, after edition.Holder, limit int) ([]edition.Holder, error) {
	if after.Owner == edition.Direct {
		at := edition.Key{UAID: after.UAID, AppID: lastApp}
		for more := true; more && limit > 0; {
			var found []entry
			var err error
			if found, at, more, err = s.dueAt(edition.Direct).find(nil, at, limit); err != nil {
				return dst, err
			}
			for i := range found {
				u := found[i].key.UAID
				if n := len(dst); n > 0 && dst[n-1].UAID == u {
					continue
				}
				dst = append(dst, edition.Holder{UAID: u})
				limit--
			}
			if n := len(dst); n > 0 && dst[n-1].UAID == at.UAID {
				at.AppID = lastApp
			}
		}
	}
	for n := uint32(after.Owner) + 1; n <= s.relays.count() && limit > 0; n++ {
		waits, err := s.waits(edition.Owner(n))
		if err != nil {
			return dst, err
		}
		if waits {
			dst = append(dst, edition.Holder{Owner: edition.Owner(n)})
			limit--
		}
	}
	return dst, nil
}

// waits reports whether anything is to be sent to an owner.
func (s *Store) waits(owner edition.Owner) (bool, error) {
	at := edition.Key{}
	for {
		found, next, more, err := s.dueAt(owner).find(nil, at, 1)
		if err != nil || len(found) > 0 || !more {
			return len(found) > 0, err
		}
		at = next
	}
}

// Apps implements edition.Store.
func (s *Store) Apps(u edition.UAID) (apps []edition.AppID, err error) {
	sh := &s.shards[shardOf(u)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := s.findDevice(sh, u); err != nil {
		return nil, err
	}
	for x := range sh.device(u) {
		if r := x.row(); r.is(isLive) && !x.key().AppID.IsSlot() {
			apps = append(apps, x.key().AppID)
		}
	}
	return apps, nil
}
