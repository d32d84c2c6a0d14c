package mem

import "github.com/edition-push/edition"

// Sent implements edition.Store.
func (s *Store) Sent(owner edition.Owner, u edition.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range u {
		a := s.app(e.Key)
		if a == nil || !a.pending || e.Version > a.version || a.owner != owner {
			continue
		}
		if !a.hasSent || e.Version > a.sent {
			a.sent, a.hasSent = e.Version, true
		}
		a.shown = false
	}
	return nil
}

// Ack implements edition.Store.
func (s *Store) Ack(owner edition.Owner, u edition.Update, state edition.AckState) (n edition.AckCount, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range u {
		a := s.app(e.Key)
		switch {
		case a == nil || a.owner != owner || owner == edition.Direct && state != edition.AckDelivered:
			n.Ignored++
		case a.withdraws() && e.Version < a.version:
			n.Late++
		case a.hasHigh && e.Version <= a.high:
			n.Late++
			if state == edition.AckDelivered && a.relayed && e.Version == a.high {
				s.settle(a, e.Version, false)
			}
		case !a.hasSent || e.Version > a.sent:
			n.Ignored++
		case state == edition.AckDelivered || state == edition.AckReleased:
			if a.pending && a.version <= e.Version {
				n.Cleared++
			} else {
				n.Late++
			}
			s.settle(a, e.Version, state == edition.AckReleased)
			s.sweep(a)
		case a.pending && !a.held && a.version <= e.Version && (state != edition.AckRefused || !a.shown):
			n.Cleared++
			a.held = true
		default:
			n.Late++
		}
	}
	return n, nil
}

// settle notes that version v, which was sent, has arrived: at the device, or
// (relayed) at a relay that answers for it.
func (s *Store) settle(a *app, v edition.Version, relayed bool) {
	a.high, a.hasHigh, a.relayed = v, true, relayed
	if !relayed {
		a.reported = s.devices[a.key.UAID].Upstream == ""
	}
	a.overtake(v, func(w edition.Version) edition.Result {
		if relayed {
			return stored(w, v)
		}
		return delivered(w)
	})
	if (a.pending || a.expired) && a.version > v {
		return
	}
	a.pending, a.expired, a.held, a.since = false, false, false, s.now()
}

// Reports implements edition.Store.
func (s *Store) Reports(dst edition.Update, upstream string, after edition.Key, limit int) (edition.Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys(after) {
		if limit <= 0 || upstream == "" {
			break
		}
		if a := s.app(k); a.hasReport() && s.devices[k.UAID].Upstream == upstream {
			dst = append(dst, edition.Event{Key: k, Version: a.high})
			limit--
		}
	}
	return dst, nil
}

// Reported implements edition.Store.
func (s *Store) Reported(u edition.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range u {
		if a := s.app(e.Key); a != nil && a.hasHigh && a.high == e.Version {
			a.reported = true
			s.sweep(a)
		}
	}
	return nil
}

func (a *app) hasReport() bool { return a.hasHigh && !a.relayed && !a.reported }
