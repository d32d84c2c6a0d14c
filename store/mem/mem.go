// Package mem is a Store in memory: the reference that says, in few lines,
// what every other store must do.
//
// It keeps every promise of edition.Store but one: nothing outlives the
// process. What it keeps counts as durable at once, or, for a delivery with a
// grace, when the grace has passed. It is made for tests and for reading; it
// sorts on every scan and has no limits.
package mem

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/edition-push/edition"
)

// Options of a Store.
type Options struct {
	// TTL is how long an event stays pending; 0 is 72 hours.
	TTL time.Duration
	// DeviceMessages bounds the messages that wait for one device; 0 is 1,000.
	DeviceMessages int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// DefaultTTL is the time an event stays pending when Options do not say.
const DefaultTTL = 72 * time.Hour

// Store implements edition.Store. Make one with New.
type Store struct {
	// Fixed after construction.
	ttl time.Duration
	max int // messages of a device
	now func() time.Time
	id  string

	versions edition.SlotVersions

	mu      sync.Mutex
	devices map[edition.UAID]*device
	relays  []*relay // relay number n is at n-1
	failure error    // see Fail
}

var _ edition.Store = (*Store)(nil)

// device is one UAID. Guarded by Store.mu, as all below.
type device struct {
	edition.Agent
	apps map[edition.AppID]*app
}

type relay struct {
	name, id string
	routes   edition.Routes
}

// app is one registration and what is known of its versions.
type app struct {
	key     edition.Key
	owner   edition.Owner   // its device's, unless it stays
	version edition.Version // pending, or expired
	pending bool
	expired bool
	expires time.Time
	since   time.Time // of the present state

	sent    edition.Version // the greatest one sent to the present owner
	hasSent bool
	shown   bool // the device has shown up at its relay since
	held    bool // reported stored or refused by the present owner

	high     edition.Version // delivered, or answered for by a relay
	hasHigh  bool
	relayed  bool // high is in the custody of a relay
	reported bool // high is known upstream, or need not be

	last   bool          // versions need not rise
	body   *edition.Body // of what is pending
	keptOn bool          // a slot that is remembered for a receipt

	waiting []waiter
}

// waiter is a result that is not known yet.
type waiter struct {
	receipt *edition.Receipt
	index   int
	version edition.Version
}

// New returns an empty store.
func New(o Options) *Store {
	s := &Store{ttl: o.TTL, now: o.Now, id: rand.Text(), devices: make(map[edition.UAID]*device)}
	if s.ttl == 0 {
		s.ttl = DefaultTTL
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.max = o.DeviceMessages; s.max == 0 {
		s.max = 1000
	}
	return s
}

// Fail makes the store refuse events and registrations with err, as a full
// disk does, until it is called with nil.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	s.failure = err
	s.mu.Unlock()
}

// ID implements edition.Store.
func (s *Store) ID() string { return s.id }

// Err implements edition.Store.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// app returns a registration, or nil. An event that has expired is noted.
func (s *Store) app(k edition.Key) *app {
	d := s.devices[k.UAID]
	if d == nil || d.apps[k.AppID] == nil {
		return nil
	}
	a := d.apps[k.AppID]
	if a.pending && !a.expires.After(s.now()) {
		a.pending, a.expired, a.held, a.since = false, true, false, a.expires
	}
	if s.sweep(a) {
		return nil
	}
	return a
}

// keys returns the keys of all registrations that lie after one, in order.
func (s *Store) keys(after edition.Key) []edition.Key {
	var keys []edition.Key
	for uaid, d := range s.devices {
		for id := range d.apps {
			if k := (edition.Key{UAID: uaid, AppID: id}); k.Compare(after) > 0 {
				keys = append(keys, k)
			}
		}
	}
	slices.SortFunc(keys, edition.Key.Compare)
	return keys
}

// State implements edition.Store.
func (s *Store) State(k edition.Key) (edition.EndpointState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.app(k)
	if a == nil {
		return edition.EndpointState{}, fmt.Errorf("%w: the app is not registered", edition.ErrGone)
	}
	st := edition.EndpointState{State: edition.StateNone, Since: a.since}
	if a.hasHigh && !a.relayed {
		st.Delivered = a.high
	}
	switch {
	case a.pending:
		st.State, st.Version = edition.StatePending, a.version
	case a.expired:
		st.State, st.Version = edition.StateExpired, a.version
	case a.relayed:
		st.Relayed = true
	case a.hasHigh:
		st.State, st.Version = edition.StateDelivered, a.high
	}
	return st, nil
}
