package session

import (
	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// carried is what events carry, by their keys: nil when none carries anything.
type carried map[edition.Key]*edition.Body

// of returns what each event carries, nil when none does.
func (m carried) of(u edition.Update) (all []*edition.Body) {
	for i := range u {
		if b := m[u[i].Key]; b != nil {
			if all == nil {
				all = make([]*edition.Body, len(u))
			}
			all[i] = b
		}
	}
	return all
}

// carry reads what the events of an update carry, and returns how many of them
// fit into one UPDATE with that. Without whole their apps only are told.
func (s *Server) carry(u edition.Update, whole bool) (carried, int, error) {
	all, err := s.store.Bodies(u)
	if err != nil || all == nil {
		return nil, len(u), err
	}
	m := make(carried)
	size := len(u) * 102 // as fit counts, at the most
	for i, b := range all {
		if b == nil {
			continue
		}
		if size += wire.CarriedSize(b); whole && size > wire.MaxMessage && i > 0 {
			return m, i, nil
		}
		m[u[i].Key] = b
	}
	return m, len(u), nil
}

// shown returns events as a device is told of them that knows no bodies: those
// in slots by their apps, of several the greatest version.
func (m carried) shown(u edition.Update) edition.Update {
	if len(m) == 0 {
		return u
	}
	out := make(edition.Update, 0, len(u))
	for _, e := range u {
		if b := m[e.Key]; b != nil && e.AppID.IsSlot() {
			e.AppID = b.AppID
		}
		out = append(out, e)
	}
	return out.Normalize()
}

// matches reports whether an ack of a device that knows no bodies means an
// event in a slot: the app's, at or below the version named.
func (m carried) matches(e, acked edition.Event) bool {
	b := m[e.Key]
	return b != nil && e.AppID.IsSlot() && e.UAID == acked.UAID && b.AppID == acked.AppID && e.Version <= acked.Version
}

func (c *conn) appendUpdate(dst []byte, id uint64, u edition.Update, m carried) []byte {
	switch {
	case len(m) == 0:
		return wire.AppendUpdate(dst, id, u)
	case c.bodies:
		return wire.AppendCarrying(dst, id, u, m.of(u))
	}
	return wire.AppendUpdate(dst, id, m.shown(u))
}

// takeBodies notes that a device wants to be told what events carry.
func (c *conn) takeBodies() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies = true
}

// unmap adds to an ack the events in flight that the device was told of by
// their apps.
func (b *board) unmap(acked edition.Update) edition.Update {
	out := acked
	for _, f := range b.flights {
		if len(f.bodies) == 0 {
			continue
		}
		for _, e := range f.events {
			for _, a := range acked {
				if e.Version != landed && f.bodies.matches(e, a) {
					out = append(out, e)
					break
				}
			}
		}
	}
	return out.Normalize()
}

// unmap adds to the ack of a poll the events in slots that it means.
func (s *Server) unmap(owner edition.Owner, acked edition.Update) (edition.Update, error) {
	out := acked
	for i, a := range acked {
		if i > 0 && acked[i-1].UAID == a.UAID {
			continue
		}
		u, err := s.store.Pending(nil, owner, a.UAID)
		if err != nil {
			return nil, err
		}
		m, _, err := s.carry(u, false)
		if err != nil || m == nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, e := range u {
			for _, b := range acked {
				if m.matches(e, b) {
					out = append(out, e)
					break
				}
			}
		}
	}
	return out.Normalize(), nil
}
