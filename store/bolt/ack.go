package bolt

import "github.com/edition-push/edition"

// each runs f on the row of each event that an update names, and keeps what f
// makes of it. Rows that are not there are passed over.
func (s *Store) each(u edition.Update, f func(sh *shard, e edition.Event, r *row)) error {
	if len(u) > 1 {
		if err := s.warm(u); err != nil {
			return err
		}
	}
	now := s.millis()
	for i := 0; i < len(u); {
		n := shardOf(u[i].UAID)
		sh := &s.shards[n]
		sh.mu.Lock()
		for ; i < len(u) && shardOf(u[i].UAID) == n; i++ {
			x, ok, err := s.find(sh, u[i].Key)
			if err != nil {
				sh.mu.Unlock()
				return err
			}
			if !ok {
				continue
			}
			r := x.row()
			if r.expire(now) {
				s.metrics.expired.Inc()
			}
			f(sh, u[i], &r)
			x.set(r)
		}
		sh.mu.Unlock()
	}
	return nil
}

// Sent implements edition.Store.
func (s *Store) Sent(owner edition.Owner, u edition.Update) error {
	return s.each(u, func(_ *shard, e edition.Event, r *row) {
		if r.owner == owner {
			r.send(e.Version)
		}
	})
}

// Ack implements edition.Store.
func (s *Store) Ack(owner edition.Owner, u edition.Update, state edition.AckState) (n edition.AckCount, err error) {
	now := s.millis()
	err = s.each(u, func(sh *shard, e edition.Event, r *row) {
		was := r.flags & mustJournal
		did, arrived := r.ack(owner, e.Version, state, now)
		switch did {
		case ackCleared, ackMarked:
			n.Cleared++
		case ackLate:
			n.Late++
		case ackIgnored:
			return
		}
		if arrived {
			relayed := state == edition.AckReleased
			sh.resolve(e.Key, e.Version, func(v edition.Version) edition.Result {
				return settled(v, e.Version, relayed)
			})
		}
		if r.flags&mustJournal&^was != 0 {
			s.queue.later(e.Key, s.ticks())
		}
	})
	n.Ignored = len(u) - n.Cleared - n.Late
	return n, err
}

// Reported implements edition.Store.
func (s *Store) Reported(u edition.Update) error {
	return s.each(u, func(_ *shard, e edition.Event, r *row) { r.reported(e.Version) })
}

// State implements edition.Store.
func (s *Store) State(k edition.Key) (edition.EndpointState, error) {
	r, ok, err := s.peek(k)
	switch {
	case err != nil:
		return edition.EndpointState{}, err
	case !ok:
		return edition.EndpointState{}, errGone
	}
	r.expire(s.millis())
	return r.state(), nil
}
