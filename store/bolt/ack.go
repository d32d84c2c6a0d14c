package bolt

import "github.com/edition-push/edition"

// each runs f on the row of each event that an update names, by its place
// there, and keeps what f makes of it. Rows that are not there are passed over.
func (s *Store) each(u edition.Update, f func(sh *shard, i int, r *row)) error {
	now := s.millis()
	visit := func(sh *shard, i int, x cell) {
		r := x.row()
		if r.expire(now) {
			s.metrics.expired.Inc()
		}
		f(sh, i, &r)
		s.update(sh, x, r, now)
	}
	if len(u) != 1 {
		return s.warm(u, visit)
	}
	sh := &s.shards[shardOf(u[0].UAID)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	x, ok, err := s.find(sh, u[0].Key)
	if ok {
		visit(sh, 0, x)
	}
	return err
}

// Sent implements edition.Store.
func (s *Store) Sent(owner edition.Owner, u edition.Update) error {
	return s.each(u, func(_ *shard, i int, r *row) {
		if r.owner == owner {
			r.send(u[i].Version)
		}
	})
}

// Ack implements edition.Store.
func (s *Store) Ack(owner edition.Owner, u edition.Update, state edition.AckState) (n edition.AckCount, err error) {
	now := s.millis()
	err = s.each(u, func(sh *shard, i int, r *row) {
		e, was := u[i], r.flags&mustJournal
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
	return s.each(u, func(_ *shard, i int, r *row) { r.reported(u[i].Version) })
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
	now := s.millis()
	if r.expire(now); k.AppID.IsSlot() && r.ended(now) {
		return edition.EndpointState{}, errGone
	}
	return r.state(), nil
}
