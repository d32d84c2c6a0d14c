package bolt

import (
	"fmt"
	"sync/atomic"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// A body belongs to what is pending in a row that says hasBody. It is in
// memory (shard.bodies) until a fold has written it into its table; then it is
// read from there. Since a newer body is in memory until it has taken the
// older one's place in the table, what the table has is the row's own whenever
// memory has none.

// size is about how large the row's body is, in bytes: what counts against the
// limits.
func (r *row) size() int64 { return int64(r.flags&sizeMask>>sizeShift) * sizeUnit }

// withdraws reports that what is pending says that a message was withdrawn: its
// body has no size, as no message's.
func (r *row) withdraws() bool { return r.flags&(isPending|hasBody|sizeMask) == isPending|hasBody }

func (r *row) urgency() edition.Urgency {
	return edition.Urgency(r.flags & urgencyMask >> urgencyShift)
}

// carry says that what is pending has a body.
func (r *row) carry(b *edition.Body) {
	r.clear(bodyFlags)
	if b.Withdrawn {
		r.set(hasBody)
		return
	}
	units := flags(b.Size()/sizeUnit + 1)
	if b.Receipt {
		r.set(isKeptOn)
	}
	r.set(hasBody | min(units<<sizeShift, sizeMask) | flags(b.Urgency)<<urgencyShift&urgencyMask)
}

// ended reports whether a slot has nothing more to say: then it is forgotten.
func (r *row) ended(now int64) bool {
	return r.is(isLive) && !r.is(isPending|hasReport) && (!r.is(isKeptOn) || r.expires+receiptGrace <= now)
}

// receiptGrace is how long after its TTL the fate of a message is remembered
// that was to be, in milliseconds.
const receiptGrace = 3600 * 1000

// kept counts the bodies.
type kept struct{ count, bytes atomic.Int64 }

func (k *kept) add(n, bytes int64) {
	k.count.Add(n)
	k.bytes.Add(bytes)
}

// putBody gives a row's pending event its body.
func (s *Store) putBody(sh *shard, k edition.Key, r *row, b *edition.Body) {
	r.carry(b)
	if sh.bodies == nil {
		sh.bodies = make(map[edition.Key]*edition.Body)
	}
	sh.bodies[k] = b
	s.kept.add(1, r.size())
}

// dropBody lets go of a row's body if what it belongs to is no longer pending.
func (s *Store) dropBody(sh *shard, k edition.Key, r *row) {
	if r.is(hasBody) && !r.is(isPending) {
		s.looseBody(sh, k, r)
	}
}

func (s *Store) looseBody(sh *shard, k edition.Key, r *row) {
	if r.is(hasBody) {
		s.kept.add(-1, -r.size())
		r.clear(bodyFlags)
		delete(sh.bodies, k)
	}
}

// findBody returns the body of a row that says hasBody. The shard is locked.
func (s *Store) findBody(sh *shard, k edition.Key) (b *edition.Body, err error) {
	if b := sh.bodies[k]; b != nil {
		return b, nil
	}
	err = s.read(func(tx *bbolt.Tx) error {
		var buf [keySize]byte
		key := appendKey(buf[:0], k)
		v := tx.Bucket(tableBodies).Get(key)
		if v == nil {
			return fmt.Errorf("%w: a body is missing (key %.12x…)", errRecord, key)
		}
		body, err := unseal(key, v)
		if err == nil {
			b, _, err = readBody(body)
		}
		return err
	})
	return b, err
}

// Bodies implements edition.Store.
func (s *Store) Bodies(u edition.Update) (all []*edition.Body, err error) {
	if s.kept.count.Load() == 0 {
		return nil, nil
	}
	now := s.millis()
	var missing error
	err = s.each(u, func(sh *shard, i int, r *row) {
		if !r.is(hasBody) || !r.is(isPending) || r.version != u[i].Version {
			return
		}
		b, err := s.findBody(sh, u[i].Key)
		if err != nil {
			missing = err
			return
		}
		if all == nil {
			all = make([]*edition.Body, len(u))
		}
		left := *b
		left.TTL = max(time.Millisecond, time.Duration(r.expires-now)*time.Millisecond)
		all[i] = &left
	})
	if err == nil {
		err = missing
	}
	return all, err
}

// Urgent implements edition.Store.
func (s *Store) Urgent(u edition.Update, least edition.Urgency) (edition.Update, error) {
	if s.kept.count.Load() == 0 {
		return u, nil
	}
	low := make([]bool, len(u))
	for i := range u {
		low[i] = u[i].AppID.IsSlot()
	}
	err := s.each(u, func(_ *shard, i int, r *row) {
		low[i] = low[i] && (!r.is(hasBody) || r.urgency() < least)
	})
	out := u[:0]
	for i, e := range u {
		if !low[i] {
			out = append(out, e)
		}
	}
	return out, err
}

// appendBody appends a body's bytes; its TTL stands in the row.
func appendBody(dst []byte, b *edition.Body) []byte {
	dst = append(dst, b.AppID[:]...)
	marks := byte(0)
	if b.Receipt {
		marks |= markReceipt
	}
	if b.Withdrawn {
		marks |= markWithdrawn
	}
	dst = append(dst, byte(b.Urgency), marks)
	dst = appendBytes(dst, b.Encoding)
	dst = appendBytes(dst, b.Encryption)
	dst = appendBytes(dst, b.CryptoKey)
	return appendBytes(dst, b.Data)
}

// What a body's record says beside its texts.
const (
	markReceipt = 1 << iota
	markWithdrawn
)

// readBody reads a body and returns what follows it.
func readBody(b []byte) (body *edition.Body, rest []byte, err error) {
	p := reader{b: b}
	body = new(edition.Body)
	copy(body.AppID[:], p.take(uint64(len(body.AppID))))
	if marks := p.take(2); len(marks) == 2 {
		body.Urgency, body.Receipt = edition.Urgency(marks[0])&3, marks[1]&markReceipt != 0
		body.Withdrawn = marks[1]&markWithdrawn != 0
	}
	body.Encoding = string(p.bytes())
	body.Encryption = string(p.bytes())
	body.CryptoKey = string(p.bytes())
	body.Data = append([]byte(nil), p.bytes()...)
	if p.bad {
		return nil, nil, errRecord
	}
	return body, p.b, nil
}

// checkBody refuses what no caller should bring.
func checkBody(b *edition.Body) error {
	switch {
	case len(b.Data) > edition.MaxBody:
		return fmt.Errorf("%w: a body of %d bytes is longer than %d", edition.ErrTooLarge, len(b.Data), edition.MaxBody)
	case max(len(b.Encoding), len(b.Encryption), len(b.CryptoKey)) > edition.MaxBodyHead:
		return fmt.Errorf("%w: a text of a body is longer than %d bytes", edition.ErrTooLarge, edition.MaxBodyHead)
	case b.TTL < 0 || b.TTL > edition.MaxBodyTTL:
		return fmt.Errorf("%w: a body's TTL of %v is not between 0 and %v", edition.ErrMalformed, b.TTL, edition.MaxBodyTTL)
	}
	return nil
}

// enterSlot makes the row of a message whose app is registered. The device's
// rows are in memory.
func (s *Store) enterSlot(sh *shard, k edition.Key, b *edition.Body, from sender, now int64) (cell, bool, error) {
	x, ok, err := s.find(sh, edition.Key{UAID: k.UAID, AppID: b.AppID})
	if !ok || err != nil {
		return cell{}, false, err
	}
	app := x.row()
	if from.foreign(app.up) {
		return cell{}, false, edition.ErrForbidden
	}
	if err := s.Err(); err != nil {
		return cell{}, false, err
	}
	return s.enter(sh, k, &agent{owner: app.owner, up: app.up}, now), true, nil
}

// update replaces a row by what has become of it: a body goes with the event
// that it belongs to, a slot when it has ended.
func (s *Store) update(sh *shard, x cell, r row, now int64) {
	k := x.key()
	s.dropBody(sh, k, &r)
	x.set(r)
	if k.AppID.IsSlot() && r.ended(now) {
		s.forget(sh, x)
		s.queue.later(k, s.ticks())
	}
}

// expireSlot forgets a slot that has ended by now, and reports whether it did.
func (s *Store) expireSlot(sh *shard, x cell, now int64) bool {
	r := x.row()
	if r.expire(now) {
		s.metrics.expired.Inc()
	}
	if !r.ended(now) {
		return false
	}
	s.update(sh, x, r, now)
	return true
}

// forgetSlots forgets the messages of an app, and returns what is to be
// written: their keys and the app's own.
func (s *Store) forgetSlots(sh *shard, app edition.Key) ([]edition.Key, error) {
	keys, now := []edition.Key{app}, s.millis()
	if s.kept.count.Load() == 0 {
		return keys, nil
	}
	if err := s.findDevice(sh, app.UAID); err != nil {
		return nil, err
	}
	for x := range sh.device(app.UAID) {
		r := x.row()
		if !x.key().AppID.IsSlot() || !r.is(hasBody) || r.expire(now) {
			continue
		}
		b, err := s.findBody(sh, x.key())
		if err != nil {
			return nil, err
		}
		if b.AppID == app.AppID {
			s.forget(sh, x)
			keys = append(keys, x.key())
		}
	}
	return keys, nil
}

// countBodies finds out what is kept, at the start.
func (s *Store) countBodies(tx *bbolt.Tx) error {
	for i := range s.shards {
		for x := range s.shards[i].from(edition.Key{}) {
			if r := x.row(); r.is(hasBody) {
				s.kept.add(1, r.size())
			}
		}
	}
	apps := rowCursor{s: s, c: tx.Bucket(tableApps).Cursor()}
	return tx.Bucket(tableBodies).ForEach(func(k, _ []byte) error {
		if len(k) != keySize {
			return errRecord
		}
		key := keyOf(k)
		if _, ok := s.shards[shardOf(key.UAID)].find(key); ok {
			return nil
		}
		r, ok, err := apps.get(key)
		if err != nil {
			return err
		}
		if !ok || !r.is(hasBody) {
			return fmt.Errorf("%w: a body without its row (key %.12x…)", errRecord, k)
		}
		s.kept.add(1, r.size())
		return nil
	})
}

// foldedBody is the image of a body that goes into its table.
type foldedBody struct {
	key   edition.Key
	value []byte
}

func imageOf(k edition.Key, b *edition.Body) foldedBody {
	var buf [keySize]byte
	key := appendKey(buf[:0], k)
	return foldedBody{k, seal(key, appendBody(make([]byte, headSize, headSize+64+b.Size()), b))}
}

// appendBodyRecord appends what follows the record of a row that has a body.
func appendBodyRecord(dst []byte, k edition.Key, b *edition.Body) []byte {
	return appendBody(appendKey(append(dst, recordBody), k), b)
}
