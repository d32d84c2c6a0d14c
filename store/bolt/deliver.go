package bolt

import (
	"errors"
	"fmt"

	"github.com/edition-push/edition"
)

// waiter is a result that is not known yet. Those of one key form a list.
type waiter struct {
	receipt *edition.Receipt
	index   int32
	version edition.Version
	next    *waiter
}

// Deliver implements edition.Store.
func (s *Store) Deliver(u edition.Update, how edition.Delivery) *edition.Receipt {
	r := edition.NewReceipt(len(u))
	if len(u) > 1 {
		if err := s.warm(u, nil); err != nil {
			for i := range u {
				r.Resolve(i, failed(err))
			}
			return r
		}
	}
	d := delivery{
		s: s, receipt: r, how: how, now: s.millis(),
		from: sender{any: how.Upstream == "", up: s.upstreams.known(how.Upstream)},
	}
	if len(u) >= groupSize && how.Grace == 0 {
		d.pledges = make([]pledge, 0, len(u))
		r.Fresh = make([]edition.Holder, 0, len(u))
	}
	for i := 0; i < len(u); {
		n := shardOf(u[i].UAID)
		sh := &s.shards[n]
		sh.mu.Lock()
		for ; i < len(u) && shardOf(u[i].UAID) == n; i++ {
			d.take(sh, i, u[i])
		}
		sh.mu.Unlock()
	}
	if !s.queue.together(d.pledges) { // Run has ended meanwhile
		for _, it := range d.pledges {
			r.Resolve(int(it.index), failed(s.Err()))
		}
	}
	if d.ring || len(d.pledges) > 0 {
		s.queue.ring()
	}
	return r
}

// groupSize is from how many events on a delivery waits for its commit as one:
// an ack does not overtake it then.
const groupSize = 17

// delivery is one call of Deliver.
type delivery struct {
	s       *Store
	receipt *edition.Receipt
	how     edition.Delivery
	from    sender
	now     int64
	pledges []pledge // of a large one
	ring    bool     // the commit loop is to be rung
}

// sender is who delivers: anybody, or the upstream of a number.
type sender struct {
	any bool
	up  uint32
}

// foreign reports that another upstream made a device's endpoints.
func (f sender) foreign(up uint32) bool { return !f.any && (up != f.up || up == 0) }

// take takes one event. The shard is locked.
func (d *delivery) take(sh *shard, i int, e edition.Event) {
	s, r := d.s, d.receipt
	body, err := d.body(sh, i, e)
	if err != nil {
		r.Resolve(i, failed(err))
		return
	}
	x, ok, err := s.find(sh, e.Key)
	if ok && e.AppID.IsSlot() {
		ok = !s.expireSlot(sh, x, d.now)
	}
	if err == nil && !ok && body != nil && e.AppID.IsSlot() && !d.how.Adopt {
		x, ok, err = s.enterSlot(sh, e.Key, body, d.from, d.now)
	}
	if err == nil && !ok {
		if !d.how.Adopt {
			r.Resolve(i, edition.Result{Outcome: edition.OutcomeGone})
			return
		}
		x, ok, err = s.adopt(sh, e.Key, d.from, d.now)
		if err == nil && !ok {
			r.Resolve(i, edition.Result{Outcome: edition.OutcomeRefused})
			return
		}
	}
	switch {
	case errors.Is(err, edition.ErrForbidden), err == nil && d.from.foreign(x.row().up):
		r.Resolve(i, edition.Result{Outcome: edition.OutcomeRefused, Err: edition.ErrForbidden})
		return
	case err != nil:
		r.Resolve(i, failed(err))
		return
	}
	row := x.row()
	if row.expire(d.now) {
		s.metrics.expired.Inc()
		s.dropBody(sh, e.Key, &row)
		x.set(row)
	}
	if d.how.Make {
		if e.Version = row.next(d.now); e.AppID.IsTopic() {
			e.Version = s.versions.Next(e.AppID, e.Version)
		}
	}
	switch {
	case row.is(hasHigh) && e.Version <= row.high && !row.restarts(e.Version):
		if !row.is(mustSettle) {
			r.Resolve(i, settled(e.Version, row.high, row.is(isRelayed)))
			return
		}
		if err := s.Err(); err != nil {
			r.Resolve(i, failed(err))
			return
		}
	case row.is(isPending) && e.Version <= row.version:
		if !row.is(mustRegister | mustPend | isWriting) {
			r.Resolve(i, stored(e.Version, row.version))
			return
		}
		if err := s.Err(); err != nil {
			r.Resolve(i, failed(err))
			return
		}
	case body != nil && body.Withdrawn && row.owner == edition.Direct:
		if err := s.Err(); err != nil {
			r.Resolve(i, failed(err))
			return
		}
		s.looseBody(sh, e.Key, &row)
		row.withdraw(e.Version, d.now)
		x.set(row)
	default:
		if err := s.Err(); err != nil {
			r.Resolve(i, failed(err))
			return
		}
		if body != nil && e.AppID.IsSlot() && !body.Withdrawn {
			if err := s.follow(sh, e.UAID, &row); err != nil {
				r.Resolve(i, failed(err))
				return
			}
			if err := s.makeRoom(sh, e.Key, body, d.now); err != nil {
				s.update(sh, x, row, d.now) // a slot that was just made goes
				r.Resolve(i, failed(err))
				return
			}
		}
		s.looseBody(sh, e.Key, &row)
		if row.restarts(e.Version) {
			row.restart()
		}
		row.pend(e.Version, d.now, d.ttl(body))
		if body != nil {
			s.putBody(sh, e.Key, &row, body)
		}
		x.set(row)
		r.Fresh = append(r.Fresh, edition.Holder{Owner: row.owner, UAID: e.UAID})
	}
	if d.pledges != nil {
		d.pledges = append(d.pledges, pledge{r, int32(i), e.Key, e.Version})
		return
	}
	sh.wait(e.Key, waiter{receipt: r, index: int32(i), version: e.Version})
	if d.how.Grace > 0 && !row.is(mustRegister) {
		s.queue.within(e.Key, s.ticks()+max(1, d.how.Grace.Milliseconds()))
		return
	}
	s.queue.now(e.Key)
	d.ring = true
}

// follow has a slot that is to take a message follow its device, which it may
// not have done, see row.stays.
func (s *Store) follow(sh *shard, u edition.UAID, r *row) error {
	if r.owner == edition.Direct || !r.is(hasHigh|isPending|isExpired) || r.is(isPending) && !r.withdraws() {
		return nil
	}
	a, err := s.findAgent(sh, u)
	if a != nil {
		r.returns(a.owner)
	}
	return err
}

// adopt registers an unknown app of a known device.
func (s *Store) adopt(sh *shard, k edition.Key, from sender, now int64) (cell, bool, error) {
	a, err := s.findAgent(sh, k.UAID)
	if a == nil || err != nil {
		return cell{}, false, err
	}
	if from.foreign(a.up) {
		return cell{}, false, edition.ErrForbidden
	}
	if err := s.Err(); err != nil {
		return cell{}, false, err
	}
	return s.enter(sh, k, a, now), true, nil
}

// enter makes the row of a new registration.
func (s *Store) enter(sh *shard, k edition.Key, a *agent, now int64) cell {
	r := row{flags: isLive | mustRegister, owner: a.owner, up: a.up, since: now}
	if sh.whole(k.UAID) {
		r.set(isWhole)
	}
	if x, ok := sh.find(k); ok { // a tombstone
		old := x.row()
		r.seg = old.seg
		r.set(old.flags & (isKept | isWriting))
		x.set(r)
		return x
	}
	return sh.insert(k, r)
}

func (sh *shard) wait(k edition.Key, w waiter) {
	if sh.waiters == nil {
		sh.waiters = make(map[edition.Key]*waiter)
	}
	w.next = sh.waiters[k]
	sh.waiters[k] = &w
}

// resolve gives the waiters of a key for versions up to v their results.
func (sh *shard) resolve(k edition.Key, v edition.Version, result func(edition.Version) edition.Result) {
	w := sh.waiters[k]
	if w == nil {
		return
	}
	var rest *waiter
	for w != nil {
		next := w.next
		if w.version <= v {
			w.receipt.Resolve(int(w.index), result(w.version))
		} else {
			w.next, rest = rest, w
		}
		w = next
	}
	if rest == nil {
		delete(sh.waiters, k)
	} else {
		sh.waiters[k] = rest
	}
}

// stored is the result of an event of version v where known is on disk.
func stored(v, known edition.Version) edition.Result {
	return edition.Result{Outcome: edition.OutcomeStored, Version: known, Superseded: known > v}
}

// settled is the result of an event of version v where known has arrived.
func settled(v, known edition.Version, relayed bool) edition.Result {
	if relayed {
		return stored(v, known)
	}
	return edition.Result{Outcome: edition.OutcomeDelivered, Version: v}
}

func failed(err error) edition.Result {
	return edition.Result{Outcome: edition.OutcomeFailed, Err: err}
}

var errWithdrawn = fmt.Errorf("%w: what is withdrawn is a message, and an upstream says so", edition.ErrMalformed)

var errGone = fmt.Errorf("%w: the app is not registered", edition.ErrGone)

// body returns what an event carries. Of a message, all rows of its device are
// in memory then.
func (d *delivery) body(sh *shard, i int, e edition.Event) (*edition.Body, error) {
	if d.how.Bodies == nil || d.how.Bodies[i] == nil {
		return nil, nil
	}
	b := d.how.Bodies[i]
	if err := checkBody(b); err != nil {
		return nil, err
	}
	if b.Withdrawn && (!e.AppID.IsSlot() || d.how.Upstream == "" || b.Size() > 0) {
		return nil, errWithdrawn
	}
	if !e.AppID.IsSlot() {
		return b, nil
	}
	return b, d.s.findDevice(sh, e.UAID)
}

func (d *delivery) ttl(b *edition.Body) int64 {
	if b == nil || b.TTL == 0 {
		return d.s.ttl
	}
	return max(1, b.TTL.Milliseconds())
}
