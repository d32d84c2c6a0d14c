package bolt

import (
	"context"
	"sync"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

const (
	// sweepRows is how many rows a step of the sweeper looks at, and
	// sweepPause how long it rests after it.
	sweepRows  = 2000
	sweepPause = 20 * 1000 * 1000 // ns
)

// sweeper looks for what has expired, in small steps, until ctx ends. What it
// returns waits for it.
func (s *Store) sweeper(ctx context.Context) (wait func()) {
	return background(ctx, func(ctx context.Context) {
		for pause(ctx, s.options.SweepEvery); ctx.Err() == nil; pause(ctx, s.options.SweepEvery) {
			if err := s.sweep(ctx); err != nil {
				s.options.Log.Error("cannot look for expired events", "path", s.path, "err", err)
			}
		}
	})
}

// background runs f beside the caller until ctx ends. What it returns ends f
// and waits for it.
func background(ctx context.Context, f func(context.Context)) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// sweep looks once through all that is kept.
func (s *Store) sweep(ctx context.Context) error {
	for i := range s.shards {
		s.expireShard(&s.shards[i])
	}
	for _, table := range [][]byte{tableDue, tableHeld, tableReports} {
		for after, more := []byte(nil), true; more && ctx.Err() == nil; pause(ctx, sweepPause) {
			var expired []edition.Key
			var err error
			if expired, after, more, err = s.expiredAfter(table, after); err != nil {
				return err
			}
			for _, k := range expired {
				if err := s.each(edition.Update{{Key: k}}, func(*shard, int, *row) {}); err != nil {
					return err
				}
			}
		}
	}
	if s.options.RegistrationTTL > 0 {
		return s.sweepAgents(ctx)
	}
	return nil
}

// expireShard expires what is in memory.
func (s *Store) expireShard(sh *shard) {
	if sh.rows.Load() == 0 {
		return
	}
	now := s.millis()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for x := range sh.from(edition.Key{}) {
		r := x.row()
		if r.expire(now) {
			s.metrics.expired.Inc()
			s.update(sh, x, r, now)
		} else if r.is(isKeptOn) && r.ended(now) {
			s.update(sh, x, r, now)
		}
	}
}

// expiredAfter returns those of the next rows of an index that have expired.
func (s *Store) expiredAfter(table, after []byte) (expired []edition.Key, to []byte, more bool, err error) {
	now := s.millis()
	err = s.read(func(tx *bbolt.Tx) error {
		apps := tx.Bucket(tableApps)
		c := tx.Bucket(table).Cursor()
		k, _ := c.Seek(after)
		for n := 0; k != nil; k, _ = c.Next() {
			if len(k) < keySize {
				return errRecord
			}
			if n++; n > sweepRows {
				to, more = append(to, k...), true
				return nil
			}
			key := keyOf(k[len(k)-keySize:])
			r, ok, err := s.tableRow(apps, key)
			if err != nil {
				return err
			}
			if ok && (r.is(isPending) && r.expires <= now || r.is(isKeptOn) && r.ended(now)) {
				expired = append(expired, key)
			}
		}
		return nil
	})
	return expired, to, more, err
}

// lapsedIn returns the devices in memory that have not been seen since limit.
func (s *Store) lapsedIn(sh *shard, limit int64) (lapsed []edition.UAID) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for u, a := range sh.agents {
		if !a.gone && a.seen < limit {
			lapsed = append(lapsed, u)
		}
	}
	return lapsed
}

// sweepAgents forgets devices that have not been seen for too long.
func (s *Store) sweepAgents(ctx context.Context) error {
	for i := range s.shards {
		limit := s.millis() - s.options.RegistrationTTL.Milliseconds()
		for _, u := range s.lapsedIn(&s.shards[i], limit) {
			if err := s.lapseDevice(ctx, u, limit); err != nil {
				return err
			}
		}
	}
	for after, more := []byte(nil), true; more && ctx.Err() == nil; pause(ctx, sweepPause) {
		var lapsed []edition.UAID
		limit := s.millis() - s.options.RegistrationTTL.Milliseconds()
		err := s.read(func(tx *bbolt.Tx) error {
			c := tx.Bucket(tableAgents).Cursor()
			k, v := c.Seek(after)
			more = false
			for n := 0; k != nil; k, v = c.Next() {
				if n++; n > sweepRows {
					after, more = append([]byte(nil), k...), true
					return nil
				}
				body, err := unseal(k, v)
				if err != nil {
					return err
				}
				a, _, err := readAgent(body)
				if err != nil {
					return err
				}
				if a.seen < limit {
					lapsed = append(lapsed, edition.UAID(k))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, u := range lapsed {
			if err := s.lapseDevice(ctx, u, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// lapseDevice forgets a device and its apps, unless it has been seen since.
func (s *Store) lapseDevice(ctx context.Context, u edition.UAID, limit int64) error {
	return s.change(ctx, u, func(sh *shard, _ int64) (keys []edition.Key, err error) {
		a, err := s.findAgent(sh, u)
		if a == nil || err != nil || a.seen >= limit {
			return nil, err
		}
		if err := s.findDevice(sh, u); err != nil {
			return nil, err
		}
		for x := range sh.device(u) {
			if r := x.row(); r.is(isLive) {
				s.forget(sh, x)
				keys = append(keys, x.key())
			}
		}
		s.touch(sh, u, a)
		a.gone = true
		s.metrics.lapsed.Inc()
		return keys, nil
	})
}
