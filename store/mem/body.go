package mem

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/edition-push/edition"
)

// receiptGrace is how long after its TTL the fate of a message is remembered.
const receiptGrace = time.Hour

// sweep forgets a slot that has nothing more to say, and reports whether it
// did.
func (s *Store) sweep(a *app) bool {
	if !a.pending {
		a.body = nil
	}
	if !a.key.AppID.IsSlot() || a.pending || a.hasReport() || a.keptOn && a.expires.Add(receiptGrace).After(s.now()) {
		return false
	}
	a.overtake(edition.MaxVersion, gone)
	delete(s.devices[a.key.UAID].apps, a.key.AppID)
	return true
}

// Bodies implements edition.Store.
func (s *Store) Bodies(u edition.Update) (all []*edition.Body, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range u {
		a := s.app(e.Key)
		if a == nil || !a.pending || a.body == nil || a.version != e.Version {
			continue
		}
		if all == nil {
			all = make([]*edition.Body, len(u))
		}
		b := *a.body
		b.TTL = max(time.Millisecond, a.expires.Sub(s.now()))
		all[i] = &b
	}
	return all, nil
}

// Urgent implements edition.Store.
func (s *Store) Urgent(u edition.Update, least edition.Urgency) (edition.Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(u, func(e edition.Event) bool {
		a := s.app(e.Key)
		return e.AppID.IsSlot() && (a == nil || a.body == nil || a.body.Urgency < least)
	}), nil
}

// room has the oldest messages of the lowest urgency make room for one more.
func (s *Store) room(e edition.Event, b *edition.Body) error {
	d := s.devices[e.UAID]
	if b == nil || b.Withdrawn || d == nil || !e.AppID.IsSlot() {
		return nil
	}
	var own []*app
	for id := range d.apps {
		if id == e.AppID || !id.IsSlot() {
			continue
		}
		if a := s.app(edition.Key{UAID: e.UAID, AppID: id}); a != nil && a.pending && a.body != nil {
			own = append(own, a)
		}
	}
	slices.SortFunc(own, func(a, b *app) int {
		if a.body.Withdrawn != b.body.Withdrawn {
			if a.body.Withdrawn {
				return -1
			}
			return 1
		}
		if c := int(a.body.Urgency) - int(b.body.Urgency); c != 0 {
			return c
		}
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return a.key.Compare(b.key)
	})
	first := own[:max(0, len(own)-s.max+1)]
	if n := len(first); n > 0 && first[n-1].body.Urgency > b.Urgency {
		return edition.RetryAfter(fmt.Errorf("%w: the device has too many messages of higher urgency waiting", edition.ErrTooMany), time.Minute)
	}
	for _, a := range first {
		s.evict(a)
	}
	return nil
}

func (s *Store) evict(a *app) {
	a.pending, a.held, a.keptOn = false, false, false
	s.sweep(a)
}

// Withdraw implements edition.Store.
func (s *Store) Withdraw(_ context.Context, e edition.Event) (withdrawn bool, relay edition.Owner, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return false, edition.Direct, s.failure
	}
	a := s.app(e.Key)
	if a == nil || !e.AppID.IsSlot() || !a.withdrawable(e.Version, s.now()) {
		return false, edition.Direct, nil
	}
	if a.owner == edition.Direct {
		s.evict(a)
		return true, edition.Direct, nil
	}
	v := a.next(s.now())
	if e.AppID.IsTopic() {
		v = s.versions.Next(e.AppID, v)
	}
	a.overtake(edition.MaxVersion, gone)
	a.version, a.since, a.body = v, s.now(), &edition.Body{Withdrawn: true}
	a.pending, a.expired, a.held, a.keptOn = true, false, false, false
	return true, a.owner, nil
}

// withdraws reports that what is pending says that a message was withdrawn.
func (a *app) withdraws() bool { return a.pending && a.body != nil && a.body.Withdrawn }

// withdrawable reports whether a slot holds a message at or below version v that
// is not known to be delivered.
func (a *app) withdrawable(v edition.Version, now time.Time) bool {
	if a.pending {
		return a.version <= v && !a.withdraws()
	}
	return a.relayed && a.keptOn && a.owner != edition.Direct && a.high <= v && a.expires.After(now)
}
