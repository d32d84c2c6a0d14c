package relay

import (
	"context"
	"errors"
	"slices"

	"github.com/edition-push/edition"
)

// load is events and what each carries; bodies is nil when none does.
type load struct {
	events edition.Update
	bodies []*edition.Body
}

func (l *load) add(from load, i int) {
	l.events = append(l.events, from.events[i])
	if from.bodies != nil {
		l.bodies = append(l.bodies, from.bodies[i])
	}
}

// withdraws reports whether an event says that a message is withdrawn.
func (l *load) withdraws(i int) bool {
	return l.bodies != nil && l.bodies[i] != nil && l.bodies[i].Withdrawn
}

// update takes an UPDATE off the connection. The connection goes on reading
// while it is being kept.
func (u *upstream) update(up edition.Update, bodies []*edition.Body, done func()) {
	came := load{slices.Clone(up), bodies}
	leave := u.coming.enter()
	select {
	case u.slots <- struct{}{}:
	case <-u.base.Done():
		leave()
		return
	}
	u.receiving.Go(func() {
		defer func() { <-u.slots }()
		defer leave()
		defer done()
		free, held := u.relay.holds.split(came)
		u.keep(u.base, free)
		for len(held.events) > 0 {
			u.relay.holds.wait(u.base, held.events[0].UAID)
			free, held = u.relay.holds.split(held)
			u.keep(u.base, free)
			if u.base.Err() != nil {
				return
			}
		}
	})
}

// keep has events kept, then tells upstream what became of each. What could
// not be kept is passed over in silence: upstream sends it again.
func (u *upstream) keep(ctx context.Context, l load) {
	events := l.events
	if len(events) == 0 {
		return
	}
	how := edition.Delivery{Adopt: true, Upstream: u.name, Bodies: l.bodies}
	results, err := u.relay.deliver(events, how).Wait(ctx)
	if err != nil {
		return // shutting down
	}
	var stored, delivered, refused edition.Update
	failed, cause := 0, error(nil)
	withdrawn := 0
	for i, r := range results {
		e := events[i]
		if (r.Outcome == edition.OutcomeStored || r.Outcome == edition.OutcomeDelivered) && l.withdraws(i) {
			withdrawn++
		}
		switch r.Outcome {
		case edition.OutcomeStored:
			stored = append(stored, e)
		case edition.OutcomeDelivered:
			delivered = append(delivered, e)
		case edition.OutcomeRefused:
			refused = append(refused, e)
			why := resultUnknown
			if r.Err != nil {
				why = resultForeign
			}
			u.count(why, 1)
		case edition.OutcomeGone:
			refused = append(refused, e)
			u.count(resultGone, 1)
		default:
			failed, cause = failed+1, r.Err
		}
	}
	if failed > 0 {
		u.count(resultFailed, failed)
		u.log.Warn("events from upstream could not be kept", "events", failed, "err", cause)
	}
	u.count(resultStored, len(stored))
	u.count(resultDelivered, len(delivered))
	if withdrawn > 0 {
		u.count(resultWithdrawn, withdrawn)
		ring(u.reports) // which nobody has acknowledged
	}
	slices.SortFunc(refused, func(a, b edition.Event) int { return a.Key.Compare(b.Key) })
	err = errors.Join(u.client.AckStored(stored), u.client.Ack(delivered), u.client.Refuse(refused))
	if err != nil {
		u.log.Debug("acks did not reach upstream, it will send again", "events", len(events), "err", err)
	}
}

func (u *upstream) count(r result, n int) {
	if n > 0 {
		u.m.events.WithLabelValues(string(r)).Add(float64(n))
	}
}
