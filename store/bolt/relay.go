package bolt

import (
	"context"

	"github.com/edition-push/edition"
)

// Relay implements edition.Store.
func (s *Store) Relay(ctx context.Context, name, id string) (edition.Owner, error) {
	if n := s.relays.met(name, id); n != 0 {
		return edition.Owner(n), nil
	}
	if s.relays.known(name) == 0 {
		if err := s.Err(); err != nil {
			return 0, err
		}
	}
	n, saved := s.meet(name, id)
	if saved {
		return n, nil
	}
	return n, s.settleParties(ctx)
}

func (s *Store) meet(name, id string) (n edition.Owner, saved bool) {
	s.marks.Lock()
	defer s.marks.Unlock()
	number, lapsed, saved := s.relays.meet(name, id)
	if lapsed {
		s.lapse(edition.Owner(number))
	}
	return edition.Owner(number), saved
}

// lapse takes the marks off what is in memory for a relay. In the tables they
// have lapsed with the epoch. It goes through shards without rows too: one that
// was read before the epoch rose may be about to come.
func (s *Store) lapse(owner edition.Owner) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.gen++
		for x := range sh.from(edition.Key{}) {
			if r := x.row(); r.owner == owner && r.is(isHeld) {
				r.clear(isHeld)
				r.set(isSoft)
				x.set(r)
			}
		}
		sh.mu.Unlock()
	}
}

// settleParties waits for a commit of the parties that have changed.
func (s *Store) settleParties(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	return s.await(ctx, done, s.queue.wait(done, nil))
}

// ChangeRoutes implements edition.Store.
func (s *Store) ChangeRoutes(ctx context.Context, h edition.Holder, change func(edition.Routes) edition.Routes) error {
	if h.Owner == edition.Direct {
		return s.change(ctx, h.UAID, func(sh *shard, _ int64) ([]edition.Key, error) {
			a, err := s.findAgent(sh, h.UAID)
			if err != nil {
				return nil, err
			}
			if a == nil {
				return nil, errNobody
			}
			s.route(sh, h.UAID, a, change(a.routes))
			return nil, nil
		})
	}
	if err := s.Err(); err != nil {
		return err
	}
	if !s.relays.change(uint32(h.Owner), func(p *party) { p.routes = change(p.routes) }) {
		return errNobody
	}
	return s.settleParties(ctx)
}

// Kickable implements edition.Store.
func (s *Store) Kickable(h edition.Holder) bool {
	if h.Owner != edition.Direct {
		p, _ := s.relays.get(uint32(h.Owner))
		return len(p.routes) > 0
	}
	return !s.routed.none(h.UAID)
}

// Routes implements edition.Store.
func (s *Store) Routes(h edition.Holder) (edition.Routes, error) {
	if h.Owner != edition.Direct {
		p, _ := s.relays.get(uint32(h.Owner))
		return p.routes, nil
	}
	if s.routed.none(h.UAID) {
		return nil, nil
	}
	sh := &s.shards[shardOf(h.UAID)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a, err := s.findAgent(sh, h.UAID)
	if a == nil || err != nil {
		return nil, err
	}
	return a.routes, nil
}
