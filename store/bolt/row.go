package bolt

import "github.com/edition-push/edition"

// row is what is known of one registration. It holds no pointers, so that
// half a million of them cost the garbage collector nothing.
type row struct {
	version edition.Version // what is pending, or expired
	sent    edition.Version // the greatest one sent to the present owner
	high    edition.Version // delivered, or in the custody of a relay
	since   int64           // of the present state, Unix time in milliseconds
	expires int64           // of what is pending, Unix time in milliseconds
	owner   edition.Owner
	up      uint32 // the number of the device's upstream, 0 on a server
	seg     uint32 // the journal segment with its last image; 0: the table's is as good
	flags   flags
}

type flags uint32

// What a row says. These are written to disk.
const (
	isLive    flags = 1 << iota // registered; a row without is a tombstone
	isPending                   // version is to be delivered
	isExpired                   // version has outlived its TTL
	hasHigh                     // high is set
	isRelayed                   // high is in the custody of a relay
	hasReport                   // high was delivered and the upstream is to be told
	hasSent                     // sent is set; in tables only
	isHeld                      // reported stored or refused by the owner; in tables only
	hasBody                     // what is pending carries a body
	isKeptOn                    // a slot that is remembered until expires, for a receipt
)

// isLast says that versions need not rise, see edition.Registration. It stands
// beside what a row says of its body.
const isLast flags = 1 << 12

// isShown says that the device has shown up at its relay since something was
// last sent there: that this was refused says nothing any more; in tables only.
const isShown flags = 1 << 14

// mustSettle is in memory only: high was withdrawn, not acknowledged, and is not
// on disk yet. Until then nobody is told.
const mustSettle flags = 1 << 13

// A row with a body says how large it is, in units of sizeUnit, and how urgent; of
// one that says that a message was withdrawn the size is 0.
const (
	urgencyShift = 10
	urgencyMask  = flags(3) << urgencyShift
	sizeShift    = 23
	sizeMask     = flags(0x1ff) << sizeShift
	sizeUnit     = 16
	bodyFlags    = hasBody | urgencyMask | sizeMask
)

// How a row in memory stands to its image on disk.
const (
	// Reasons to journal it.
	mustRegister flags = 1 << (iota + 16)
	mustPend
	mustReport
	// isSoft: it differs in what may be lost in a crash; folds write it.
	isSoft
	// isWriting: the commit under way holds an image of it.
	isWriting
	// isKept: its image on disk is pending.
	isKept
	// isWhole: all rows of this device are in memory.
	isWhole

	mustJournal = mustRegister | mustPend | mustReport
	inJournal   = isLive | isPending | isExpired | hasHigh | isRelayed | hasReport | isKeptOn | isLast | bodyFlags
	inTable     = inJournal | hasSent | isHeld | isShown
)

func (r *row) is(f flags) bool { return r.flags&f != 0 }

func (r *row) set(f flags) { r.flags |= f }

func (r *row) clear(f flags) { r.flags &^= f }

// isDue reports whether the row's owner is to be sent something.
func (r *row) isDue() bool { return r.flags&(isPending|isHeld) == isPending }

// expire notes that what is pending has outlived its TTL. That follows from
// the clock, so it need not be journaled.
func (r *row) expire(now int64) bool {
	if !r.is(isPending) || r.expires > now {
		return false
	}
	r.clear(isPending | isHeld)
	r.set(isExpired | isSoft)
	r.since = r.expires
	return true
}

// next is the version that the server makes.
func (r *row) next(now int64) edition.Version {
	v := edition.Version(max(0, now))
	if r.is(isPending | isExpired) {
		v = max(v, r.version+1)
	}
	if r.is(hasHigh) {
		v = max(v, r.high+1)
	}
	return min(v, edition.MaxVersion)
}

// pend makes v what is pending.
func (r *row) pend(v edition.Version, now, ttl int64) {
	r.version, r.since, r.expires = v, now, now+ttl
	r.clear(isExpired | isHeld | isKeptOn)
	r.set(isPending | mustPend)
}

// restarts reports whether v may take the place of a greater version that has
// arrived.
func (r *row) restarts(v edition.Version) bool {
	return r.is(isLast) && !r.is(isPending) && r.is(hasHigh) && v < r.high
}

// restart forgets what has arrived, and what was sent: a late ack of that must
// not clear what comes now. Upstream knows that it has arrived, for else it
// would not send a lower version.
func (r *row) restart() { r.clear(hasHigh | hasSent | isRelayed | hasReport | mustReport) }

// send marks v as written to the owner.
func (r *row) send(v edition.Version) {
	if !r.is(isPending) || v > r.version {
		return
	}
	if !r.is(hasSent) || v > r.sent {
		r.sent = v
		r.set(hasSent | isSoft)
	}
	if r.is(isShown) {
		r.clear(isShown)
		r.set(isSoft)
	}
}

// move says that the device is now reached through owner: what is pending is
// to be sent again. It reports whether the owner is another one.
func (r *row) move(owner edition.Owner) bool {
	if r.is(isHeld) {
		r.clear(isHeld)
		r.set(isSoft)
	}
	if r.owner == owner {
		if owner != edition.Direct && r.is(isPending) && r.is(hasSent) {
			r.set(isShown | isSoft)
		}
		return false
	}
	r.owner = owner
	r.clear(hasSent | isShown)
	r.set(mustRegister)
	return true
}

// ackEffect says what an ack did to a row.
type ackEffect uint8

const (
	ackIgnored ackEffect = iota // above what was sent, or not this owner's
	ackLate                     // nothing was pending at or below it
	ackMarked                   // stored or refused
	ackCleared
)

// ack applies an owner's report of version v. settled says that v has arrived
// (at the device, or at a relay that answers for it): who waits for it or a
// lower one may know.
func (r *row) ack(owner edition.Owner, v edition.Version, state edition.AckState, now int64) (did ackEffect, settled bool) {
	switch {
	case !r.is(isLive) || r.owner != owner || owner == edition.Direct && state != edition.AckDelivered:
		return ackIgnored, false
	case r.withdraws() && v < r.version:
		return ackLate, false
	case r.is(hasHigh) && v <= r.high:
		if state == edition.AckDelivered && r.is(isRelayed) && v == r.high {
			r.settle(v, state, now)
			return ackLate, true
		}
		return ackLate, false
	case !r.is(hasSent) || v > r.sent:
		return ackIgnored, false
	}
	pending := r.is(isPending) && r.version <= v
	if state == edition.AckStored || state == edition.AckRefused {
		if !pending || r.is(isHeld) || state == edition.AckRefused && r.is(isShown) {
			return ackLate, false
		}
		r.set(isHeld | isSoft)
		return ackMarked, false
	}
	r.settle(v, state, now)
	if pending {
		return ackCleared, true
	}
	return ackLate, true
}

// settle notes that v has arrived. The clear of what may be on disk as pending
// must be journaled; of what is not, it never needs to be.
func (r *row) settle(v edition.Version, state edition.AckState, now int64) {
	r.high = v
	r.clear(isRelayed)
	r.set(hasHigh | isSoft)
	switch {
	case state == edition.AckReleased:
		r.clear(hasReport | mustReport)
		r.set(isRelayed)
	case r.up != 0:
		r.set(hasReport | mustReport)
	default: // whoever was to be told is no upstream of the device any more
		r.clear(hasReport | mustReport)
	}
	if r.is(isPending|isExpired) && r.version > v {
		return
	}
	r.clear(isPending | isExpired | isHeld | mustPend)
	if r.is(isKept | isWriting) {
		r.set(mustPend)
	}
	r.since = now
}

// withdraw notes that version v says that what was pending is withdrawn, and
// forgets that.
func (r *row) withdraw(v edition.Version, now int64) {
	r.settle(v, edition.AckDelivered, now)
	r.clear(isKeptOn)
	r.set(mustPend | mustSettle)
}

// stays reports whether a slot is not to move to another owner with its device:
// the relay that has it is to be told that the message is withdrawn, or answers
// for it.
func (r *row) stays(owner edition.Owner, now int64) bool {
	switch {
	case r.owner == edition.Direct || r.owner == owner:
		return false
	case r.is(isPending) && r.expires > now:
		return r.withdraws()
	}
	return r.is(isRelayed)
}

// returns notes that a slot which has stayed with a relay follows its device
// again.
func (r *row) returns(owner edition.Owner) {
	if r.owner != owner {
		r.owner = owner
		r.clear(hasSent | isHeld | isShown)
		r.set(mustRegister)
	}
}

// reported notes that the upstream knows of v. A version that fell below v since
// is to be reported yet.
func (r *row) reported(v edition.Version) {
	if r.is(hasReport) && r.high == v {
		r.clear(hasReport | mustReport)
		r.set(isSoft)
	}
}

// state is what GET on the endpoint shows.
func (r *row) state() edition.EndpointState {
	s := edition.EndpointState{State: edition.StateNone, Since: fromMillis(r.since)}
	if r.is(hasHigh) && !r.is(isRelayed) {
		s.Delivered = r.high
	}
	switch {
	case r.is(isPending):
		s.State, s.Version = edition.StatePending, r.version
	case r.is(isExpired):
		s.State, s.Version = edition.StateExpired, r.version
	case r.is(isRelayed):
		s.Relayed = true
	case r.is(hasHigh):
		s.State, s.Version = edition.StateDelivered, r.high
	}
	return s
}
