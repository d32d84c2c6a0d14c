package bolt

import (
	"context"
	"fmt"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// Messages take room that versions do not: as many as an app server sends. So
// they are bounded, for each device and together. Where a device has too many,
// its oldest of the lowest urgency make room, at once; where all together are
// too many, the oldest of the lowest urgency do, beside the work.

// makeRoom sees to it that one more message fits into a slot of a device, or
// says why not: then none has made room. The shard is locked, the device's rows
// are in memory.
func (s *Store) makeRoom(sh *shard, k edition.Key, b *edition.Body, now int64) error {
	o := &s.options
	if s.kept.count.Load() >= o.Messages || s.kept.bytes.Load() >= o.MessageBytes {
		s.metrics.refusedFull.Inc()
		s.trimmer.ring()
		return edition.RetryAfter(fmt.Errorf("%w: too many messages are waiting for devices", edition.ErrUnavailable), 10*time.Second)
	}
	if s.crowded() {
		s.trimmer.ring()
	}
	var own []waiting
	var bytes int64
	for x := range sh.device(k.UAID) {
		key, r := x.key(), x.row()
		if key == k || !key.AppID.IsSlot() || !r.is(hasBody) {
			continue
		}
		own = append(own, waiting{key, r.urgency(), r.since, r.size()})
		bytes += r.size()
	}
	if len(own) < o.DeviceMessages && bytes+int64(b.Size()) <= o.DeviceBytes {
		return nil
	}
	slices.SortFunc(own, waiting.compare)
	n := 0
	for ; n < len(own) && (len(own)-n >= o.DeviceMessages || bytes+int64(b.Size()) > o.DeviceBytes); n++ {
		if own[n].urgency > b.Urgency {
			s.metrics.refusedDevice.Inc()
			return edition.RetryAfter(fmt.Errorf("%w: the device has too many messages of higher urgency waiting", edition.ErrTooMany), time.Minute)
		}
		bytes -= own[n].size
	}
	for _, w := range own[:n] {
		if x, ok := sh.find(w.key); ok {
			s.evict(sh, x, now)
			s.metrics.evictedDevice.Inc()
		}
	}
	return nil
}

// crowded reports whether so much is kept that messages are to make room.
func (s *Store) crowded() bool {
	o := &s.options
	return s.kept.count.Load() >= o.Messages-o.Messages/trimAt || s.kept.bytes.Load() >= o.MessageBytes-o.MessageBytes/trimAt
}

// evict forgets a message for want of room.
func (s *Store) evict(sh *shard, x cell, now int64) {
	r := x.row()
	r.clear(isPending | isHeld | isKeptOn)
	r.set(mustPend)
	k := x.key()
	s.update(sh, x, r, now)
	s.queue.later(k, s.ticks())
}

// Withdraw implements edition.Store.
func (s *Store) Withdraw(ctx context.Context, e edition.Event) (withdrawn bool, relay edition.Owner, err error) {
	err = s.change(ctx, e.UAID, func(sh *shard, now int64) ([]edition.Key, error) {
		x, ok, err := s.find(sh, e.Key)
		if !ok || err != nil || !e.AppID.IsSlot() {
			return nil, err
		}
		r := x.row()
		if r.expire(now); !r.withdrawable(e.Version, now) {
			return nil, nil
		}
		if relay = r.owner; relay == edition.Direct {
			s.evict(sh, x, now)
		} else {
			s.recall(sh, x, r, now)
		}
		withdrawn = true
		return []edition.Key{e.Key}, nil
	})
	return withdrawn, relay, err
}

// withdrawable reports whether a slot holds a message at or below version v that
// is not known to be delivered.
func (r *row) withdrawable(v edition.Version, now int64) bool {
	if r.is(isPending) {
		return r.version <= v && !r.withdraws()
	}
	return r.is(isRelayed) && r.is(isKeptOn) && r.owner != edition.Direct && r.high <= v && r.expires > now
}

// recall replaces a message that a relay may have by the word that it was
// withdrawn, for as long as the message was to live.
func (s *Store) recall(sh *shard, x cell, r row, now int64) {
	k, v := x.key(), r.next(now)
	if k.AppID.IsTopic() {
		v = s.versions.Next(k.AppID, v)
	}
	sh.resolve(k, edition.MaxVersion, func(edition.Version) edition.Result {
		return edition.Result{Outcome: edition.OutcomeGone}
	})
	s.looseBody(sh, k, &r)
	r.pend(v, now, r.expires-now)
	s.putBody(sh, k, &r, &edition.Body{Withdrawn: true})
	x.set(r)
}

// waiting is a message that may have to make room.
type waiting struct {
	key     edition.Key
	urgency edition.Urgency
	since   int64
	size    int64
}

// compare orders those first that make room first: what is withdrawn, which has
// no size, before all messages.
func (w waiting) compare(o waiting) int {
	switch {
	case w.size != o.size && min(w.size, o.size) == 0:
		return int(w.size - o.size)
	case w.urgency != o.urgency:
		return int(w.urgency) - int(o.urgency)
	case w.since != o.since:
		if w.since < o.since {
			return -1
		}
		return 1
	}
	return w.key.Compare(o.key)
}

const (
	// trimAt is from which part of the limit on that messages make room, in
	// eighths: 7/8.
	trimAt = 8
	// trimBatch is how many messages make room in one pass over all of them.
	trimBatch = 8192
)

// trim makes room among all messages, until ctx ends. What it returns waits
// for it.
func (s *Store) trim(ctx context.Context) (wait func()) {
	return background(ctx, func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.trimmer:
			}
			if err := s.trimOnce(ctx); err != nil {
				s.options.Log.Error("cannot make room for messages", "path", s.path, "err", err)
			}
		}
	})
}

// doorbell has room for one ring.
type doorbell chan struct{}

func (d doorbell) ring() {
	select {
	case d <- struct{}{}:
	default:
	}
}

// trimOnce passes over all messages until there are few enough.
func (s *Store) trimOnce(ctx context.Context) error {
	for ctx.Err() == nil && s.crowded() {
		first, err := s.leastUrgent(ctx)
		if err != nil || len(first) == 0 {
			return err
		}
		for _, w := range first {
			if !s.crowded() {
				return nil
			}
			if err := s.evictAlone(w.key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) evictAlone(k edition.Key) error {
	sh := &s.shards[shardOf(k.UAID)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	x, ok, err := s.find(sh, k)
	if !ok || err != nil || !x.c.entries[x.i].row.is(hasBody) {
		return err
	}
	s.evict(sh, x, s.millis())
	s.metrics.evictedTotal.Inc()
	return nil
}

// leastUrgent returns those messages that make room first.
func (s *Store) leastUrgent(ctx context.Context) ([]waiting, error) {
	var first []waiting
	note := func(k edition.Key, r *row) {
		if !k.AppID.IsSlot() || !r.is(hasBody) {
			return
		}
		if first = append(first, waiting{k, r.urgency(), r.since, r.size()}); len(first) >= 2*trimBatch {
			slices.SortFunc(first, waiting.compare)
			first = first[:trimBatch]
		}
	}
	for i := range s.shards {
		sh := &s.shards[i]
		if sh.rows.Load() == 0 {
			continue
		}
		sh.mu.Lock()
		for x := range sh.from(edition.Key{}) {
			r := x.row()
			note(x.key(), &r)
		}
		sh.mu.Unlock()
	}
	for after, more := []byte(nil), true; more && ctx.Err() == nil; {
		err := s.read(func(tx *bbolt.Tx) error {
			apps := rowCursor{s: s, c: tx.Bucket(tableApps).Cursor()}
			c := tx.Bucket(tableBodies).Cursor()
			more = false
			n := 0
			for k, _ := c.Seek(after); k != nil; k, _ = c.Next() {
				if n++; n > sweepRows {
					after, more = append([]byte(nil), k...), true
					return nil
				}
				key := keyOf(k)
				if s.inMemory(key) {
					continue
				}
				r, ok, err := apps.get(key)
				if err != nil {
					return err
				}
				if ok {
					note(key, &r)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(first, waiting.compare)
	return first[:min(len(first), trimBatch)], nil
}

func (s *Store) inMemory(k edition.Key) bool {
	sh := &s.shards[shardOf(k.UAID)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, ok := sh.find(k)
	return ok
}
