package client

import (
	"maps"
	"slices"

	"github.com/edition-push/edition"
)

// callVersions calls the apps with what is new, then writes the state file,
// then acks. What it could not write is not acked, and comes again.
func (d *Device) callVersions() {
	d.mu.Lock()
	todo, dones := d.todo, d.dones
	d.todo, d.dones = make(map[edition.Key]arrival), nil
	d.mu.Unlock()
	defer func() {
		for _, done := range dones {
			done()
		}
	}()
	acks := make(edition.Update, 0, len(todo))
	for _, k := range slices.SortedFunc(maps.Keys(todo), edition.Key.Compare) {
		if d.call(k, todo[k]) {
			acks = append(acks, edition.Event{Key: k, Version: todo[k].version})
		}
	}
	if len(acks) == 0 {
		return
	}
	d.mu.Lock()
	var err error
	if d.unsaved {
		err = d.save()
	}
	d.mu.Unlock()
	if err != nil {
		d.cfg.Log.Error("cannot remember versions, not acknowledged", "uaid", d.who.UAID, "err", err)
		return
	}
	if err := d.client.Ack(acks); err != nil {
		d.cfg.Log.Debug("ack did not leave", "uaid", d.who.UAID, "err", err)
	}
}

// call calls one app unless it has seen what has come, and reports whether that
// may be acked.
func (d *Device) call(k edition.Key, came arrival) bool {
	if came.body != nil && came.body.Withdrawn { // is for relays
		return true
	}
	id := k.AppID
	if id.IsSlot() {
		id = came.body.AppID
	}
	d.mu.Lock()
	a, app := d.state.app(id), d.apps[id]
	switch {
	case a == nil:
		d.strays[id] = true
		d.mu.Unlock()
		ring(d.sign)
		return false
	case app == nil:
		if !k.AppID.IsSlot() && a.saw(came.version) {
			d.mu.Unlock()
			return true
		}
		// Known from an earlier run and not registered in this one: it is
		// called when it comes.
		d.note(k, came)
		d.mu.Unlock()
		return false
	}
	message := k.AppID.IsSlot() && app.OnMessage != nil
	saw := message && d.seen.has(k.AppID, came.version) || !message && a.saw(came.version)
	d.mu.Unlock()
	switch {
	case saw:
		return true
	case came.body != nil && app.OnMessage != nil:
		d.guard(func() { app.OnMessage(came.version, came.body) })
	case app.OnVersion != nil:
		d.guard(func() { app.OnVersion(came.version) })
	}
	if message {
		d.seen.add(k.AppID, came.version)
		return true
	}
	d.mu.Lock()
	a.Version, d.unsaved = &came.version, true
	d.mu.Unlock()
	return true
}

// maxSeen bounds the messages that a device remembers to have seen.
const maxSeen = 1024

// seen is the last messages that apps were called with, so that one that is sent
// again, because its ack was late, is not taken twice.
type seen struct {
	versions map[edition.AppID]edition.Version // by their slots
	order    []edition.AppID                   // as they came first; a ring
	next     int
}

func (s *seen) has(slot edition.AppID, v edition.Version) bool {
	last, there := s.versions[slot]
	return there && v <= last
}

func (s *seen) add(slot edition.AppID, v edition.Version) {
	if s.versions == nil {
		s.versions = make(map[edition.AppID]edition.Version)
	}
	_, there := s.versions[slot]
	s.versions[slot] = v
	switch {
	case there:
	case len(s.order) < maxSeen:
		s.order = append(s.order, slot)
	default:
		delete(s.versions, s.order[s.next])
		s.order[s.next] = slot
		s.next = (s.next + 1) % maxSeen
	}
}

// want tells upstream to send bodies when an app takes them, and of what
// urgency.
func (d *Device) want() {
	d.asking.Lock()
	defer d.asking.Unlock()
	d.client.Want(d.wanted())
}

func (d *Device) wanted() (bodies bool, urgency edition.Urgency) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, app := range d.apps {
		bodies = bodies || app.OnMessage != nil
	}
	return bodies, d.urgency
}

// SetUrgency has messages of less than an urgency wait upstream, for a device
// that saves its battery, until it is set lower (RFC 8030 §5.3). Versions do not
// wait. At first it is that of the Config.
func (d *Device) SetUrgency(u edition.Urgency) {
	defer d.want()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.urgency = u
}
