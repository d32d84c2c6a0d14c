package session

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/wire"
)

// poll is one POST /v1/update. While it waits it is attached to the hub like a
// connection, and lost to a newer one. It keeps nothing in flight: what is
// pending is handed out by each poll until it is acknowledged.
type poll struct {
	s     *Server
	by    caller
	uaids []edition.UAID // of a device's poll: whose updates
	asks  asks
	hub   *hub.Hub

	bell   chan struct{} // doorbell
	bodies carried       // of what was found last

	mu    sync.Mutex
	lost  int            // Guarded by mu. Parties that a newer connection took.
	rung  []edition.UAID // Guarded by mu. Where to look.
	again bool           // Guarded by mu. More were rung than are remembered.
}

// maxRung bounds what a poll remembers; beyond, it looks at everything.
const maxRung = 1000

// Ring implements [hub.Bell].
func (p *poll) Ring(uaid edition.UAID) {
	p.mu.Lock()
	if len(p.rung) < maxRung {
		p.rung = append(p.rung, uaid)
	} else {
		p.again = true
	}
	p.mu.Unlock()
	p.wake()
}

// Lost implements [hub.Bell].
func (p *poll) Lost(edition.Holder) {
	p.mu.Lock()
	p.lost++
	p.mu.Unlock()
	p.wake()
}

func (p *poll) wake() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// restUpdate answers a poll.
func (s *Server) restUpdate(q *request) (int, any, error) {
	var m wire.UpdateRequest
	if err := q.decode(&m); err != nil {
		return 0, nil, err
	}
	wait, err := waitTime(m.Wait)
	if err != nil {
		return 0, nil, err
	}
	least, err := leastUrgency(m.Urgency)
	if err != nil {
		return 0, nil, err
	}
	if err := s.named(q, m.Relay, m.Store); err != nil {
		return 0, nil, err
	}
	if q.by.relay() {
		_, err = q.by.peer.grant(m.Custody)
	} else {
		err = s.room(len(m.Agents))
	}
	if err != nil {
		return 0, nil, err
	}
	a, err := s.admit(q.ctx, q.by, m.Agents, func(edition.UAID) bool { return false })
	if err != nil {
		return 0, nil, err
	}
	if err := q.woken(m.Woken); err != nil {
		return 0, nil, err
	}
	if !q.by.relay() && len(a.uaids) == 0 {
		if len(m.Agents) == 0 {
			return 0, nil, fmt.Errorf("%w: a poll names agents", edition.ErrMalformed)
		}
		return 0, nil, errProof
	}
	if err := s.pollAck(q.by, edition.Update(m.Ack), a.uaids, m.Bodies); err != nil {
		return 0, nil, err
	}
	p := &poll{s: s, by: q.by, uaids: a.uaids, asks: asks{whole: true}, hub: s.hub, bell: make(chan struct{}, 1)}
	if !q.by.relay() {
		p.asks = asks{m.Bodies, least}
		for _, uaid := range a.uaids {
			s.hub.Urgency(uaid, least)
		}
	}
	answer := wire.UpdateResponse{Refused: a.refused, Gone: a.gone}
	if q.by.relay() {
		q.by.peer.calls.polls(p.waits(wait), s.clock())
		answer.Gone = s.relayGone(q.by.owner)
	}
	u, err := p.run(q, wait)
	if q.by.relay() {
		answer.Wakes = q.by.peer.calls.polledBy(p, s.clock(), err == nil)
	}
	if err != nil {
		return 0, nil, err
	}
	if len(u) == 0 && len(a.refused) == 0 && len(answer.Gone) == 0 && len(answer.Wakes) == 0 {
		return http.StatusNoContent, nil, nil
	}
	answer.Updates, answer.Messages = p.show(u)
	return http.StatusOK, answer, nil
}

// waits is p, or nil when it does not wait.
func (p *poll) waits(wait time.Duration) *poll {
	if wait == 0 {
		return nil
	}
	return p
}

// called reports whether a relay is to be asked something.
func (p *poll) called() bool { return p.by.relay() && p.by.peer.calls.queued() }

func (s *Server) pollAck(by caller, u edition.Update, uaids []edition.UAID, bodies bool) error {
	if len(u) == 0 {
		return nil
	}
	if !by.relay() {
		own := make(map[edition.UAID]bool, len(uaids))
		for _, uaid := range uaids {
			own[uaid] = true
		}
		if u = s.own(u, own); !bodies {
			var err error
			if u, err = s.unmap(by.owner, u); err != nil {
				return err
			}
		}
	}
	return s.ack(by.owner, u, edition.AckDelivered)
}

func waitTime(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf(`%w: wait %.20q is not a duration such as "30s"`, edition.ErrMalformed, s)
	}
	return min(d, wire.MaxWait), nil
}

// run returns what is pending, at once or when something comes within wait.
func (p *poll) run(q *request, wait time.Duration) (edition.Update, error) {
	if wait == 0 {
		leave := p.visit()
		defer leave()
		return p.first()
	}
	p.attach()
	defer p.detach()
	u, err := p.first()
	if err != nil || len(u) > 0 || p.called() {
		return u, err
	}
	again, err := p.s.stands(q.badge, p.by.peer)
	if err != nil {
		return nil, err
	}
	p.s.m.polls.Inc()
	defer p.s.m.polls.Dec()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-p.bell:
		case <-again:
			if again, err = p.s.stands(q.badge, p.by.peer); err != nil {
				return nil, err
			}
			continue
		case <-timer.C:
			return nil, nil
		case <-p.s.draining:
			return nil, errDraining
		case <-q.ctx.Done():
			return nil, q.ctx.Err()
		}
		if p.replaced() {
			return nil, errReplaced
		}
		if u, err := p.next(); err != nil || len(u) > 0 || p.called() {
			return u, err
		}
	}
}

var errReplaced = fmt.Errorf("%w: a newer connection or poll has taken over", edition.ErrConflict)

func (p *poll) parties() []edition.Holder {
	if p.by.relay() {
		return []edition.Holder{{Owner: p.by.owner}}
	}
	out := make([]edition.Holder, len(p.uaids))
	for i, uaid := range p.uaids {
		out[i].UAID = uaid
	}
	return out
}

func (p *poll) attach() {
	for _, party := range p.parties() {
		p.hub.Attach(party, p)
	}
}

// visit is attach for a poll that does not wait: it shows that a kick had its
// effect, and takes nothing from a connection that there is.
func (p *poll) visit() (leave func()) {
	var held []edition.Holder
	for _, party := range p.parties() {
		if p.s.store.Kickable(party) && p.hub.Visit(party, p) {
			held = append(held, party)
		}
	}
	return func() {
		for _, party := range held {
			p.hub.Detach(party, p)
		}
	}
}

func (p *poll) detach() {
	for _, party := range p.parties() {
		p.hub.Detach(party, p)
	}
}

// replaced reports whether nothing is left to wait for.
func (p *poll) replaced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost > 0 && (p.by.relay() || p.lost >= len(p.uaids))
}

// first looks at everything.
func (p *poll) first() (edition.Update, error) {
	if p.by.relay() {
		return p.scan()
	}
	return p.sent(p.look(p.uaids))
}

// next looks where the bell was rung.
func (p *poll) next() (edition.Update, error) {
	p.mu.Lock()
	rung, again := p.rung, p.again
	p.rung, p.again = nil, false
	p.mu.Unlock()
	if again {
		return p.first()
	}
	slices.SortFunc(rung, edition.UAID.Compare)
	return p.sent(p.look(slices.Compact(rung)))
}

// look reads what is pending for UAIDs, as much as fits into one answer.
func (p *poll) look(uaids []edition.UAID) (edition.Update, error) {
	sc := scratch{owner: p.by.owner, uaids: slices.Clone(uaids), asks: p.asks}
	_, err := p.s.look(&sc)
	p.bodies = sc.bodies
	return sc.events, err
}

// show is an update as the caller is told of it.
func (p *poll) show(u edition.Update) (wire.Updates, []wire.Carried) {
	if !p.asks.whole {
		return wire.Updates(p.bodies.shown(u)), nil
	}
	return wire.Updates(u), wire.CarriedBy(u, p.bodies.of(u))
}

// scan reads what waits for a relay, as much as fits into one answer, from
// where its last poll ended, once around.
func (p *poll) scan() (edition.Update, error) {
	peer := p.by.peer
	peer.mu.Lock()
	start := peer.after
	peer.mu.Unlock()
	var u edition.Update
	after, wrapped := start, start == edition.Key{}
	for {
		found, next, more, err := p.s.store.Scan(u, p.by.owner, after, wire.MaxUpdate)
		if err != nil {
			return nil, err
		}
		u, after = found, next
		if len(u) > 0 || wrapped && (!more || start != edition.Key{} && after.Compare(start) > 0) {
			break
		}
		if !more {
			after, wrapped = edition.Key{}, true
		}
	}
	var n int
	var err error
	if p.bodies, n, err = p.s.carry(u, p.asks.whole); err != nil {
		return nil, err
	}
	if u = u[:n]; n > 0 {
		after = u[len(u)-1].Key
	}
	peer.mu.Lock()
	peer.after = after
	peer.mu.Unlock()
	return p.sent(u, nil)
}

// sent marks what is handed out.
func (p *poll) sent(u edition.Update, err error) (edition.Update, error) {
	if err != nil || len(u) == 0 {
		return nil, err
	}
	if err := p.s.store.Sent(p.by.owner, u); err != nil {
		return nil, err
	}
	p.s.m.updates.Inc()
	p.s.m.events.Add(float64(len(u)))
	return u, nil
}
