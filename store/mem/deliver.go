package mem

import (
	"fmt"
	"time"

	"github.com/edition-push/edition"
)

// Deliver implements edition.Store.
func (s *Store) Deliver(u edition.Update, how edition.Delivery) *edition.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := edition.NewReceipt(len(u))
	for i, e := range u {
		s.deliver(r, i, e, how)
	}
	return r
}

func (s *Store) deliver(r *edition.Receipt, i int, e edition.Event, how edition.Delivery) {
	var body *edition.Body
	if how.Bodies != nil {
		body = how.Bodies[i]
	}
	if body != nil && body.Withdrawn && (!e.AppID.IsSlot() || how.Upstream == "") {
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeFailed, Err: errWithdrawn})
		return
	}
	a := s.app(e.Key)
	d := s.devices[e.UAID]
	adopt := how.Adopt || d != nil && body != nil && e.AppID.IsSlot() && s.app(edition.Key{UAID: e.UAID, AppID: body.AppID}) != nil
	if d != nil && (a != nil || adopt) && how.Upstream != "" && d.Upstream != how.Upstream {
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeRefused, Err: edition.ErrForbidden})
		return
	}
	if a == nil {
		switch {
		case !adopt:
			r.Resolve(i, edition.Result{Outcome: edition.OutcomeGone})
			return
		case d == nil:
			r.Resolve(i, edition.Result{Outcome: edition.OutcomeRefused})
			return
		case s.failure != nil:
			r.Resolve(i, edition.Result{Outcome: edition.OutcomeFailed, Err: s.failure})
			return
		}
		a = d.register(e.AppID, s.now())
	}
	if how.Make {
		if e.Version = a.next(s.now()); e.AppID.IsTopic() {
			e.Version = s.versions.Next(e.AppID, e.Version)
		}
	}
	if a.last && !a.pending && a.hasHigh && e.Version < a.high && s.failure == nil {
		a.hasHigh, a.hasSent, a.relayed = false, false, false // a late ack must not clear what comes now
	}
	switch {
	case a.hasHigh && e.Version <= a.high && a.relayed:
		r.Resolve(i, stored(e.Version, a.high))
		return
	case a.hasHigh && e.Version <= a.high:
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeDelivered, Version: e.Version})
		return
	case a.pending && e.Version <= a.version:
		if len(a.waiting) == 0 {
			r.Resolve(i, stored(e.Version, a.version))
			return
		}
	case s.failure != nil:
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeFailed, Err: s.failure})
		return
	case body != nil && body.Withdrawn && a.owner == edition.Direct:
		s.settle(a, e.Version, false)
		a.body, a.keptOn = nil, false
		r.Resolve(i, delivered(e.Version))
		return
	default:
		if err := s.room(e, body); err != nil {
			s.sweep(a) // a slot that was just made goes
			r.Resolve(i, edition.Result{Outcome: edition.OutcomeFailed, Err: err})
			return
		}
		if body != nil && e.AppID.IsSlot() && !body.Withdrawn {
			a.follow(d.Owner)
		}
		now := s.now()
		a.version, a.since, a.expires = e.Version, now, now.Add(s.ttl)
		a.pending, a.expired, a.held = true, false, false
		if a.body, a.keptOn = body, body != nil && body.Receipt; body != nil && body.TTL > 0 {
			a.expires = now.Add(body.TTL)
		}
		r.Fresh = append(r.Fresh, edition.Holder{Owner: a.owner, UAID: e.UAID})
	}
	a.waiting = append(a.waiting, waiter{r, i, e.Version})
	if how.Grace == 0 {
		a.commit()
		return
	}
	time.AfterFunc(how.Grace, func() {
		s.mu.Lock()
		a.commit()
		s.mu.Unlock()
	})
}

var errWithdrawn = fmt.Errorf("%w: what is withdrawn is a message, and an upstream says so", edition.ErrMalformed)

// next is the version that the server makes.
func (a *app) next(now time.Time) edition.Version {
	v := edition.Version(max(0, now.UnixMilli()))
	if a.pending || a.expired {
		v = max(v, a.version+1)
	}
	if a.hasHigh {
		v = max(v, a.high+1)
	}
	return min(v, edition.MaxVersion)
}

// commit makes what is pending durable: who waits for it learns so.
func (a *app) commit() {
	for _, w := range a.waiting {
		w.receipt.Resolve(w.index, stored(w.version, a.version))
	}
	a.waiting = nil
}

// overtake tells those who wait for a version up to v what has become of it.
func (a *app) overtake(v edition.Version, result func(edition.Version) edition.Result) {
	rest := a.waiting[:0]
	for _, w := range a.waiting {
		if w.version <= v {
			w.receipt.Resolve(w.index, result(w.version))
		} else {
			rest = append(rest, w)
		}
	}
	a.waiting = rest
}

// stored is the result of an event of version v where known is what is kept.
func stored(v, known edition.Version) edition.Result {
	return edition.Result{Outcome: edition.OutcomeStored, Version: known, Superseded: known > v}
}

func delivered(v edition.Version) edition.Result {
	return edition.Result{Outcome: edition.OutcomeDelivered, Version: v}
}

func gone(edition.Version) edition.Result { return edition.Result{Outcome: edition.OutcomeGone} }
