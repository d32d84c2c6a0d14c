package edition

import (
	"context"
	"time"
)

// Owner says who carries a device's updates: [Direct], or the number under
// which a store knows one relay.
type Owner uint32

// Direct is the owner of a device that connects here itself.
const Direct Owner = 0

// Holder is a party that can be connected, rung, or kicked: a device (Owner is
// Direct and UAID is set), or a relay (Owner is its number and UAID says whose
// event it is, or is zero where the relay as such is meant).
type Holder struct {
	Owner Owner
	UAID  UAID
}

// Party returns the holder with the UAID blanked for a relay: the identity of
// who is rung or kicked.
func (h Holder) Party() Holder {
	if h.Owner != Direct {
		h.UAID = UAID{}
	}
	return h
}

// Agent is what a store knows of one device.
type Agent struct {
	UAID  UAID
	Proof Proof // of the secret that the first registration fixed
	Owner Owner
	// Upstream is the name of the upstream that made this device's
	// endpoints; empty on a server.
	Upstream string
	Routes   Routes // how it can be kicked, in order
	Seen     time.Time
}

// Registration is one app's entry, as a device or a relay brings it.
type Registration struct {
	Key
	Proof    Proof
	Owner    Owner  // who brought it: the device's updates go there from now on
	Upstream string // see Agent.Upstream
	// Routes take the place of those there were, see [Routes.Over]; nil leaves
	// them as they are.
	Routes Routes
	// Last has a version below one that has arrived take its place, once nothing
	// is pending: the app server's versions need not rise, and promise 4 is
	// given up for this app. It is so until the next registration.
	Last bool
	// AppKey, if not nil, is the only VAPID key that may send to the endpoint
	// (RFC 8292 §4): an uncompressed point on P-256, 65 bytes. It is part of
	// the endpoint: a store does not keep it.
	AppKey []byte
}

// Delivery says how a store is to take an update.
type Delivery struct {
	// Grace is how long the commit may wait for an ack to overtake it, so
	// that what a connected device takes at once never touches the disk. 0
	// commits at once.
	Grace time.Duration
	// Adopt registers unknown apps of known UAIDs, as a relay must: the
	// registration may have been made through another relay.
	Adopt bool
	// Upstream, if not empty, is who sends the events: those of devices whose
	// endpoints another upstream made are OutcomeRefused with ErrForbidden.
	Upstream string
	// Bodies, if not nil, holds what each event carries, nil for those that
	// carry nothing. An event in a slot (see [AppID.IsSlot]) must have a body,
	// whose app must be registered; it needs no registration of its own, and
	// its slot is forgotten when it is delivered (and that is reported), has
	// expired, or its app is unregistered. An event that a store has no room
	// for is OutcomeFailed with ErrTooMany.
	//
	// One that is Withdrawn needs an Upstream, and an event in a slot. Where the
	// device is [Direct] what waits in the slot is forgotten, as though the
	// device had acknowledged the event: the result is OutcomeDelivered once that
	// is durable, and Reports names the event from then on. Else it waits for the
	// relay, as every event. It never makes others go for want of room, and goes
	// before them.
	Bodies []*Body
	// Make lets the store make each version: Unix time in milliseconds, or
	// the last known version + 1 if that is greater.
	Make bool
}

// AckState is what an ack reports.
type AckState uint8

// The states of an ack.
const (
	// AckDelivered: the device has it.
	AckDelivered AckState = iota
	// AckStored: a relay has synced it; it stays here until delivered.
	AckStored
	// AckReleased: a relay has synced it and answers for it; it is
	// forgotten here (custody: relay).
	AckReleased
	// AckRefused: a relay does not know the UAID; it stays here and is not
	// sent to this relay again until the device shows up there. Of what was
	// sent before that it says nothing any more.
	AckRefused
)

// AckCount says what an ack did, an event each.
type AckCount struct {
	Cleared int // pending versions forgotten (or marked, with AckStored and AckRefused)
	Late    int // nothing was pending at or below the version named
	Ignored int // above what was sent to this holder, or not this holder's
}

// State words of an endpoint, see [EndpointState].
const (
	StatePending   = "pending"
	StateDelivered = "delivered"
	StateExpired   = "expired"
	StateNone      = "none"
)

// EndpointState is what GET on an endpoint shows.
type EndpointState struct {
	Version Version   // the last known; 0 with StateNone
	State   string    // one of the State words
	Since   time.Time // when it came into that state; registration time with StateNone
	Relayed bool      // StateNone after a relay took custody
	// Delivered is the greatest version that the device has acknowledged, 0
	// when none is known; in any state.
	Delivered Version
}

// Store keeps registrations and, for each, the latest version that the device
// has not acknowledged. All methods may be called at once from many
// goroutines. Package storetest defines the contract by its tests.
//
// Methods that take a context return when what they say is durable; the
// others act in memory and become durable with a later commit.
type Store interface {
	// Deliver makes the events visible at once and durable soon. An event at
	// or below the registration's high-water mark, or at or below what is
	// pending, changes nothing and is not in Fresh; its result still waits
	// for the pending one's commit.
	Deliver(u Update, how Delivery) *Receipt

	// Pending appends to dst what waits for uaid at owner: not expired, and
	// not reported stored or refused by that relay since it last attached.
	// When the device has another owner, that is only what the relay is to be
	// told of having been withdrawn.
	Pending(dst Update, owner Owner, uaid UAID) (Update, error)
	// Scan appends to dst, in key order, at most limit of all events that
	// wait for owner and lie after the key, as Pending would. next is where
	// to go on; more is false at the end. It may append nothing with more
	// true, after having passed over many events.
	Scan(dst Update, owner Owner, after Key, limit int) (out Update, next Key, more bool, err error)
	// Sent marks what is about to be written to a holder: only what was
	// sent can be acknowledged. Versions no longer pending are passed over.
	Sent(owner Owner, u Update) error
	// Bodies returns what the events of an update carry, in their order, nil
	// for those that carry nothing or are no longer pending at that version;
	// nil when none does. TTL is what is left of it.
	Bodies(u Update) ([]*Body, error)
	// Urgent returns, in the place of u, its events without the messages (events
	// in slots) of less than an urgency.
	Urgent(u Update, least Urgency) (Update, error)
	// Ack applies one holder's report. With AckDelivered and AckReleased it
	// clears a pending version only if it is at or below the one named and
	// that one was sent. An ack above what was sent is ignored. An ack of what
	// was withdrawn, while the relay is still to be told so, is late.
	Ack(owner Owner, u Update, state AckState) (AckCount, error)

	// Withdraw forgets the message that is pending in a slot, at or below the
	// version named, as though it had never come; withdrawn is false when none
	// is. When the message may have gone to a relay, an event that is Withdrawn
	// takes its place for the rest of its TTL: relay, if not Direct, is to be
	// rung, also with an error. That event stays with the relay when the device
	// moves. A message that a relay answers for (AckReleased) counts as pending
	// as long as it is remembered for its receipt.
	Withdraw(ctx context.Context, e Event) (withdrawn bool, relay Owner, err error)

	// Register makes or renews a registration. The first one of a UAID fixes
	// its proof, another proof is ErrUnauthorized. It moves the device to
	// r.Owner as Bind does.
	Register(ctx context.Context, r Registration) error
	// Unregister forgets an app and what is pending for it; an unknown one is
	// no error.
	Unregister(ctx context.Context, k Key) error
	// Apps returns the apps of a device, none when it is unknown.
	Apps(uaid UAID) ([]AppID, error)
	// Agent returns what is known of a device, or ErrNotFound.
	Agent(uaid UAID) (Agent, error)
	// Bind says that a device is now reached through a.Owner, and moves there
	// everything that is not delivered: it is to be sent again. What a relay has
	// to be told of having been withdrawn, or answers for, stays. Binding a
	// device where it already is only clears the marks of AckStored and
	// AckRefused. An unknown device is made, with no apps yet, when
	// a.Upstream is set (the upstream proved it), else it is ErrNotFound.
	// Another proof than the known one is ErrUnauthorized. a.Routes and a.Seen
	// are ignored.
	Bind(ctx context.Context, a Agent) error
	// ChangeRoutes lets change say how a device, or a relay (a Holder's
	// Party), is kicked, given how it is now. Nothing else changes the routes
	// meanwhile; change must not call the store, nor modify what it is given.
	// ErrNotFound when the party is unknown.
	ChangeRoutes(ctx context.Context, h Holder, change func(old Routes) Routes) error
	// Routes returns how a device or relay is kicked, none when it is unknown.
	// The caller must not modify them.
	Routes(h Holder) (Routes, error)
	// Kickable reports whether a device or relay may have a route: false is
	// certain, and cheap; true may be wrong.
	Kickable(h Holder) bool
	// Relay returns the number of a relay, making it at first. id names the
	// relay's own store: when it differs from last time the relay has lost
	// its store, and the marks of AckStored and AckRefused lapse.
	Relay(ctx context.Context, name, id string) (Owner, error)
	// State returns what GET shows, or ErrGone.
	State(k Key) (EndpointState, error)

	// Due appends to dst, in order, at most limit parties that have
	// something to be sent and lie after the given one; fewer than limit
	// means the end. A relay appears once.
	Due(dst []Holder, after Holder, limit int) ([]Holder, error)

	// Reports appends to dst at most limit events of devices of the given
	// upstream, after the key, that the device has acknowledged and the
	// upstream has not confirmed to know.
	Reports(dst Update, upstream string, after Key, limit int) (Update, error)
	// Reported forgets the reports of the versions named; of another one that
	// was acknowledged since, greater or (Registration.Last) lower, it keeps it.
	Reported(u Update) error

	// ID is random and made with the store's file: a new one means that what
	// was kept is lost.
	ID() string
	// Err is nil while events can be kept, else why not.
	Err() error
}

// Registrar keeps registrations and makes endpoints: a server by itself, a
// relay by passing them up. The caller has checked the proof of a device that
// is known here. What these methods return is durable here and above.
type Registrar interface {
	// Register makes or renews a registration and returns the app's
	// endpoint: for the same key the same one.
	Register(ctx context.Context, r Registration) (endpoint string, err error)
	// Unregister withdraws an endpoint. An unknown one is no error.
	Unregister(ctx context.Context, k Key) error
	// Claim asks who is above to move devices that are unknown here to this
	// place, where they are reached through owner, and returns those that
	// were proven.
	Claim(ctx context.Context, who []Credential, owner Owner) ([]UAID, error)
	// Present says that known devices have shown up here, and when (Seen), so
	// that who is above sends their updates this way. It does not block.
	Present(who []Agent)
}

// Credential is a device's claim to be a UAID.
type Credential struct {
	UAID  UAID
	Proof Proof
}
