package bolt

import (
	"context"
	"fmt"
	"slices"

	"github.com/edition-push/edition"
)

var (
	errProof   = fmt.Errorf("%w: another secret was registered for this uaid", edition.ErrUnauthorized)
	errUnknown = fmt.Errorf("%w: unknown uaid", edition.ErrNotFound)
	errNobody  = fmt.Errorf("%w: nobody to be kicked by that name", edition.ErrNotFound)
)

// seenEvery is how fresh Agent.Seen is kept, in milliseconds.
const seenEvery = 24 * 3600 * 1000

// Register implements edition.Store.
func (s *Store) Register(ctx context.Context, r edition.Registration) error {
	return s.change(ctx, r.UAID, func(sh *shard, now int64) (keys []edition.Key, err error) {
		a, err := s.findAgent(sh, r.UAID)
		if err != nil {
			return nil, err
		}
		up := s.upstreams.number(r.Upstream)
		if a == nil {
			a = &agent{proof: r.Proof, owner: r.Owner, up: up, seen: now, dirty: true}
			s.keepAgent(sh, r.UAID, a)
		} else if keys, err = s.move(sh, r.UAID, a, r.Proof, r.Owner, up, now); err != nil {
			return nil, err
		}
		if r.Routes != nil {
			s.route(sh, r.UAID, a, r.Routes.Over(a.routes))
		}
		x, ok, err := s.find(sh, r.Key)
		if err != nil {
			return nil, err
		}
		if !ok {
			x = s.enter(sh, r.Key, a, now)
		}
		row := x.row()
		if row.is(isLast) != r.Last {
			row.flags ^= isLast
			row.set(mustRegister)
			x.set(row)
		}
		if row.is(mustRegister | isWriting) {
			keys = append(keys, r.Key)
		}
		return keys, nil
	})
}

// change runs f, which changes what is known of a device, and waits until the
// rows that f names, and the device's agent, are durable.
func (s *Store) change(ctx context.Context, u edition.UAID, f func(sh *shard, now int64) ([]edition.Key, error)) error {
	if err := s.Err(); err != nil {
		return err
	}
	sh := &s.shards[shardOf(u)]
	sh.mu.Lock()
	keys, err := f(sh, s.millis())
	a := sh.agents[u]
	changed := a != nil && (a.dirty || a.writing)
	if err != nil || len(keys) == 0 && !changed {
		sh.mu.Unlock()
		return err
	}
	done := make(chan error, 1)
	var agents []edition.UAID
	if changed {
		agents = []edition.UAID{u}
	}
	waits := s.queue.wait(done, keys, agents...)
	sh.mu.Unlock()
	return s.await(ctx, done, waits)
}

// await waits for the commit that done is told of. waits: there may be one.
func (s *Store) await(ctx context.Context, done <-chan error, waits bool) error {
	if !waits { // Run has ended meanwhile
		return s.Err()
	}
	s.queue.ring()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// touch notes that a is about to change.
func (s *Store) touch(sh *shard, u edition.UAID, a *agent) {
	a.changes++
	a.dirty = true
	s.keepAgent(sh, u, a)
}

// route changes a device's routes. They are replaced, never modified: readers
// may still have the old ones.
func (s *Store) route(sh *shard, u edition.UAID, a *agent, rs edition.Routes) {
	same := slices.EqualFunc(a.routes, rs, func(x, y edition.Route) bool { return x.Same(y) && x.Confirm == y.Confirm })
	if same {
		return
	}
	s.touch(sh, u, a)
	a.routes = rs
	if len(rs) > 0 {
		s.routed.add(u)
	}
}

// move says that a known device is reached through owner and that its
// endpoints are made by upstream number up. It returns the rows that changed.
func (s *Store) move(sh *shard, u edition.UAID, a *agent, proof edition.Proof, owner edition.Owner, up uint32, now int64) (keys []edition.Key, err error) {
	if !a.proof.Equal(proof) {
		return nil, errProof
	}
	if err := s.findDevice(sh, u); err != nil {
		return nil, err
	}
	if a.owner != owner || a.up != up || now-a.seen > seenEvery {
		s.touch(sh, u, a)
		a.owner, a.up, a.seen = owner, up, now
	}
	for x := range sh.device(u) {
		r := x.row()
		if !r.is(isLive) {
			continue
		}
		if r.up != up {
			r.up = up
			r.set(mustRegister)
		}
		if !x.key().AppID.IsSlot() || !r.stays(owner, now) {
			r.move(owner)
		}
		if r.is(mustRegister | isWriting) {
			keys = append(keys, x.key())
		}
		x.set(r)
	}
	return keys, nil
}

// Unregister implements edition.Store.
func (s *Store) Unregister(ctx context.Context, k edition.Key) error {
	return s.change(ctx, k.UAID, func(sh *shard, _ int64) ([]edition.Key, error) {
		x, ok, err := s.find(sh, k)
		if !ok || err != nil {
			return nil, err
		}
		s.forget(sh, x)
		return s.forgetSlots(sh, k)
	})
}

// forget makes a row a tombstone.
func (s *Store) forget(sh *shard, x cell) {
	r := x.row()
	if r.is(isPending) {
		s.metrics.unregistered.Inc()
	}
	s.looseBody(sh, x.key(), &r)
	sh.resolve(x.key(), edition.MaxVersion, func(edition.Version) edition.Result {
		return edition.Result{Outcome: edition.OutcomeGone}
	})
	x.set(row{seg: r.seg, flags: mustRegister | r.flags&(isWhole|isWriting|isKept)})
}

// Agent implements edition.Store.
func (s *Store) Agent(u edition.UAID) (edition.Agent, error) {
	sh := &s.shards[shardOf(u)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a, err := s.findAgent(sh, u)
	switch {
	case err != nil:
		return edition.Agent{}, err
	case a == nil:
		return edition.Agent{}, errUnknown
	}
	up, _ := s.upstreams.get(a.up)
	return edition.Agent{
		UAID: u, Proof: a.proof, Owner: a.owner, Upstream: up.name, Routes: a.routes, Seen: fromMillis(a.seen),
	}, nil
}

// Bind implements edition.Store.
func (s *Store) Bind(ctx context.Context, b edition.Agent) error {
	return s.change(ctx, b.UAID, func(sh *shard, now int64) ([]edition.Key, error) {
		a, err := s.findAgent(sh, b.UAID)
		if err != nil {
			return nil, err
		}
		up := s.upstreams.number(b.Upstream)
		if a == nil {
			if up == 0 {
				return nil, errUnknown
			}
			s.keepAgent(sh, b.UAID, &agent{proof: b.Proof, owner: b.Owner, up: up, seen: now, dirty: true})
			return nil, nil
		}
		if up == 0 {
			up = a.up
		}
		return s.move(sh, b.UAID, a, b.Proof, b.Owner, up, now)
	})
}
