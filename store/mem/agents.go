package mem

import (
	"context"
	"fmt"
	"time"

	"github.com/edition-push/edition"
)

// Register implements edition.Store.
func (s *Store) Register(_ context.Context, r edition.Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	d := s.devices[r.UAID]
	switch {
	case d == nil:
		d = s.device(edition.Agent{UAID: r.UAID, Proof: r.Proof, Owner: r.Owner})
	case !d.Proof.Equal(r.Proof):
		return errProof
	default:
		d.move(r.Owner, s.now())
	}
	d.Upstream, d.Seen = r.Upstream, s.now()
	if r.Routes != nil {
		d.Routes = r.Routes.Over(d.Routes)
	}
	a := s.app(r.Key)
	if a == nil {
		a = d.register(r.AppID, s.now())
	}
	a.last = r.Last
	return nil
}

var errProof = fmt.Errorf("%w: another secret was registered for this uaid", edition.ErrUnauthorized)

var errUnknown = fmt.Errorf("%w: unknown uaid", edition.ErrNotFound)

func (s *Store) device(a edition.Agent) *device {
	d := &device{Agent: a, apps: make(map[edition.AppID]*app)}
	s.devices[a.UAID] = d
	return d
}

func (d *device) register(id edition.AppID, now time.Time) *app {
	a := &app{key: edition.Key{UAID: d.UAID, AppID: id}, owner: d.Owner, since: now}
	d.apps[id] = a
	return a
}

// move says that the device is now reached through owner: what is pending is
// to be sent again.
func (d *device) move(owner edition.Owner, now time.Time) {
	for _, a := range d.apps {
		if !a.stays(owner, now) {
			a.held = false
			a.shown = a.shown || owner != edition.Direct && a.owner == owner && a.pending && a.hasSent
			a.follow(owner)
		}
	}
	d.Owner = owner
}

func (a *app) follow(owner edition.Owner) {
	if a.owner != owner {
		a.owner, a.hasSent, a.held, a.shown = owner, false, false, false
	}
}

// stays reports whether a slot does not move with its device: the relay that has
// it is to be told that the message is withdrawn, or answers for it.
func (a *app) stays(owner edition.Owner, now time.Time) bool {
	switch {
	case !a.key.AppID.IsSlot() || a.owner == edition.Direct || a.owner == owner:
		return false
	case a.pending && a.expires.After(now):
		return a.withdraws()
	}
	return a.relayed
}

// Unregister implements edition.Store.
func (s *Store) Unregister(_ context.Context, k edition.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	if a := s.app(k); a != nil {
		a.overtake(edition.MaxVersion, gone)
		delete(s.devices[k.UAID].apps, k.AppID)
		for id, slot := range s.devices[k.UAID].apps {
			if id.IsSlot() && slot.pending && slot.body != nil && slot.body.AppID == k.AppID {
				slot.overtake(edition.MaxVersion, gone)
				delete(s.devices[k.UAID].apps, id)
			}
		}
	}
	return nil
}

// Agent implements edition.Store.
func (s *Store) Agent(uaid edition.UAID) (edition.Agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[uaid]; d != nil {
		return d.Agent, nil
	}
	return edition.Agent{}, errUnknown
}

// Bind implements edition.Store.
func (s *Store) Bind(_ context.Context, a edition.Agent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	d := s.devices[a.UAID]
	switch {
	case d == nil && a.Upstream == "":
		return errUnknown
	case d == nil:
		d = s.device(edition.Agent{UAID: a.UAID, Proof: a.Proof, Owner: a.Owner})
	case !d.Proof.Equal(a.Proof):
		return errProof
	default:
		d.move(a.Owner, s.now())
	}
	if a.Upstream != "" {
		d.Upstream = a.Upstream
	}
	d.Seen = s.now()
	return nil
}

// ChangeRoutes implements edition.Store.
func (s *Store) ChangeRoutes(_ context.Context, h edition.Holder, change func(edition.Routes) edition.Routes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	routes := s.routes(h)
	if routes == nil {
		return fmt.Errorf("%w: nobody to be kicked by that name", edition.ErrNotFound)
	}
	*routes = change(*routes)
	return nil
}

// Kickable implements edition.Store.
func (s *Store) Kickable(h edition.Holder) bool {
	rs, err := s.Routes(h)
	return err != nil || len(rs) > 0
}

// Routes implements edition.Store.
func (s *Store) Routes(h edition.Holder) (edition.Routes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if routes := s.routes(h); routes != nil {
		return *routes, nil
	}
	return nil, nil
}

// routes returns where a party's routes stand, nil for an unknown one.
func (s *Store) routes(h edition.Holder) *edition.Routes {
	if h.Owner == edition.Direct {
		if d := s.devices[h.UAID]; d != nil {
			return &d.Routes
		}
		return nil
	}
	if int(h.Owner) > len(s.relays) {
		return nil
	}
	return &s.relays[h.Owner-1].routes
}

// Relay implements edition.Store.
func (s *Store) Relay(_ context.Context, name, id string) (edition.Owner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.relays {
		if r.name != name {
			continue
		}
		owner := edition.Owner(i + 1)
		if r.id != id {
			r.id = id
			for _, d := range s.devices {
				for _, a := range d.apps {
					a.held = a.held && a.owner != owner
				}
			}
		}
		return owner, nil
	}
	if s.failure != nil {
		return 0, s.failure
	}
	s.relays = append(s.relays, &relay{name: name, id: id})
	return edition.Owner(len(s.relays)), nil
}

// Apps implements edition.Store.
func (s *Store) Apps(uaid edition.UAID) (apps []edition.AppID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys(edition.Key{UAID: uaid}) {
		if k.UAID == uaid && !k.AppID.IsSlot() {
			apps = append(apps, k.AppID)
		}
	}
	return apps, nil
}
