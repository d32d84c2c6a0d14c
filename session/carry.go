package session

import (
	"fmt"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// asks is what a device asks to be told. A relay is told everything.
type asks struct {
	whole bool            // what events carry, by their slots; else their apps are told
	least edition.Urgency // less urgent messages wait
}

// leastUrgency reads the urgency of a hello: no word asks for everything.
func leastUrgency(word string) (edition.Urgency, error) {
	if word == "" {
		return edition.UrgencyVeryLow, nil
	}
	u, ok := edition.ParseUrgency(word)
	if !ok {
		return 0, fmt.Errorf("%w: urgency %.20q is none of very-low, low, normal, high", edition.ErrMalformed, word)
	}
	return u, nil
}

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

// slots is whose messages are in slots.
type slots map[edition.Key]edition.AppID

func (m carried) slots() (all slots) {
	for k, b := range m {
		if k.AppID.IsSlot() {
			if all == nil {
				all = make(slots)
			}
			all[k] = b.AppID
		}
	}
	return all
}

// bodiesAtOnce is how many bodies are read together, about what fits into one
// UPDATE, so that much pending costs no memory; a few more where events carry
// nothing.
const bodiesAtOnce, bodiesAtMost = 16, 64

// eachBody calls do with each event, in order, and what it carries, until do
// returns false.
func (s *Server) eachBody(u edition.Update, do func(i int, b *edition.Body) bool) error {
	for i, step := 0, bodiesAtOnce; i < len(u); {
		part := u[i:min(len(u), i+step)]
		bodies, err := s.store.Bodies(part)
		if err != nil {
			return err
		}
		if step = bodiesAtOnce; bodies == nil {
			step = bodiesAtMost
		}
		for j := range part {
			var b *edition.Body
			if bodies != nil {
				b = bodies[j]
			}
			if !do(i+j, b) {
				return nil
			}
		}
		i += len(part)
	}
	return nil
}

// carry reads what the events of an update carry, and returns how many of them
// fit into one UPDATE of wire.MaxUpdate events and wire.MaxMessage bytes, with
// that. Without whole, only whose they are is read.
func (s *Server) carry(u edition.Update, whole bool) (m carried, n int, err error) {
	const (
		head  = 64 // {"type":"update","id":…,"updates":{}}
		agent = 42 // "<36>":{},
		event = 60 // "<36>":<19>,
	)
	size := head
	err = s.eachBody(u, func(i int, b *edition.Body) bool {
		if i == 0 || u[i].UAID != u[i-1].UAID {
			size += agent
		}
		size += event
		if b != nil && whole {
			size += wire.CarriedSize(b)
		}
		if i > 0 && size > wire.MaxMessage || i == wire.MaxUpdate {
			return false
		}
		n = i + 1
		switch {
		case b == nil:
			return true
		case m == nil:
			m = make(carried)
		}
		if !whole {
			b = &edition.Body{AppID: b.AppID}
		}
		m[u[i].Key] = b
		return true
	})
	return m, n, err
}

// urgent leaves out the messages of u, from an index on, that a device does not
// ask for.
func (s *Server) urgent(u edition.Update, from int, least edition.Urgency) (edition.Update, error) {
	if least == edition.UrgencyVeryLow || from == len(u) {
		return u, nil
	}
	kept, err := s.store.Urgent(u[from:], least)
	return u[:from+len(kept)], err
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

// appendUpdate appends an UPDATE as a peer asks for it.
func (m carried) appendUpdate(dst []byte, id uint64, u edition.Update, whole bool) []byte {
	switch {
	case len(m) == 0:
		return wire.AppendUpdate(dst, id, u)
	case whole:
		return wire.AppendCarrying(dst, id, u, m.of(u))
	}
	return wire.AppendUpdate(dst, id, m.shown(u))
}

// unmap returns an ack of a device that knows no bodies as one of the events
// that it was told of: a version of an app means the messages of that app at or
// below it and, where there are any, the app's own version that was told with
// them as one.
func (of slots) unmap(acked, told edition.Update) edition.Update {
	var messages edition.Update
	for i, a := range acked {
		own, before := a, len(messages)
		for _, e := range told {
			switch {
			case e.UAID != a.UAID || e.Version > a.Version: // also what has landed
			case e.AppID == a.AppID:
				own = e
			case e.AppID.IsSlot() && of[e.Key] == a.AppID:
				messages = append(messages, e)
			}
		}
		if len(messages) > before {
			acked[i] = own
		}
	}
	return append(acked, messages...).Normalize()
}

// unmap is slots.unmap for what is in flight.
func (b *board) unmap(acked edition.Update) edition.Update {
	for _, f := range b.flights {
		if len(f.slots) > 0 {
			acked = f.slots.unmap(acked, f.events)
		}
	}
	return acked
}

// unmap is slots.unmap for an ack over REST: the store knows what was sent.
func (s *Server) unmap(owner edition.Owner, acked edition.Update) (edition.Update, error) {
	var told edition.Update
	var err error
	for i, a := range acked {
		if i > 0 && acked[i-1].UAID == a.UAID {
			continue
		}
		if told, err = s.store.Pending(told, owner, a.UAID); err != nil {
			return nil, err
		}
	}
	of := make(slots)
	err = s.eachBody(told, func(i int, b *edition.Body) bool {
		if b != nil && told[i].AppID.IsSlot() {
			of[told[i].Key] = b.AppID
		}
		return true
	})
	if err != nil || len(of) == 0 {
		return acked, err
	}
	return of.unmap(acked, told), nil
}
