package mem

import "github.com/edition-push/edition"

// due returns the version of an app that is to be sent to an owner.
func (s *Store) due(owner edition.Owner, k edition.Key) (edition.Event, bool) {
	a := s.app(k)
	if a == nil || a.owner != owner || !a.pending || a.held {
		return edition.Event{}, false
	}
	return edition.Event{Key: k, Version: a.version}, true
}

// Pending implements edition.Store.
func (s *Store) Pending(dst edition.Update, owner edition.Owner, uaid edition.UAID) (edition.Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[uaid]
	if d == nil {
		return dst, nil
	}
	from := len(dst)
	for id := range d.apps {
		if e, ok := s.due(owner, edition.Key{UAID: uaid, AppID: id}); ok {
			dst = append(dst, e)
		}
	}
	dst[from:].Normalize()
	return dst, nil
}

// Scan implements edition.Store.
func (s *Store) Scan(dst edition.Update, owner edition.Owner, after edition.Key, limit int) (edition.Update, edition.Key, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys(after) {
		if limit <= 0 {
			return dst, after, true, nil
		}
		after = k
		if e, ok := s.due(owner, k); ok {
			dst = append(dst, e)
			limit--
		}
	}
	return dst, after, false, nil
}

// Due implements edition.Store.
func (s *Store) Due(dst []edition.Holder, after edition.Holder, limit int) ([]edition.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := s.keys(edition.Key{})
	for owner := after.Owner; int(owner) <= len(s.relays); owner++ {
		for _, k := range keys {
			if _, ok := s.due(owner, k); !ok {
				continue
			}
			h := edition.Holder{Owner: owner, UAID: k.UAID}.Party()
			if h.Owner == after.Owner && h.UAID.Compare(after.UAID) <= 0 {
				continue
			}
			if limit <= 0 {
				return dst, nil
			}
			dst, after, limit = append(dst, h), h, limit-1
		}
	}
	return dst, nil
}
