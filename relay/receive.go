package relay

import (
	"context"
	"errors"
	"slices"

	"github.com/edition-push/edition"
)

// update takes an UPDATE off the connection. The connection goes on reading
// while it is being kept.
func (u *upstream) update(up edition.Update, done func()) {
	up = slices.Clone(up)
	select {
	case u.slots <- struct{}{}:
	case <-u.base.Done():
		return
	}
	u.receiving.Go(func() {
		defer func() { <-u.slots }()
		defer done()
		free, held := u.relay.holds.split(up)
		u.keep(u.base, free)
		for len(held) > 0 {
			u.relay.holds.wait(u.base, held[0].UAID)
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
func (u *upstream) keep(ctx context.Context, events edition.Update) {
	if len(events) == 0 {
		return
	}
	mine, refused := u.sift(events)
	var stored, delivered edition.Update
	if len(mine) > 0 {
		results, err := u.relay.deliver(mine, edition.Delivery{Adopt: true}).Wait(ctx)
		if err != nil {
			return // shutting down
		}
		failed, cause := 0, error(nil)
		for i, r := range results {
			e := mine[i]
			switch r.Outcome {
			case edition.OutcomeStored:
				stored = append(stored, e)
			case edition.OutcomeDelivered:
				delivered = append(delivered, e)
			case edition.OutcomeRefused:
				refused = append(refused, e)
				u.count(resultUnknown, 1)
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
	}
	u.count(resultStored, len(stored))
	u.count(resultDelivered, len(delivered))
	slices.SortFunc(refused, func(a, b edition.Event) int { return a.Key.Compare(b.Key) })
	err := errors.Join(u.client.AckStored(stored), u.client.Ack(delivered), u.client.Refuse(refused))
	if err != nil {
		u.log.Debug("acks did not reach upstream, it will send again", "events", len(events), "err", err)
	}
}

// sift separates the events of devices that registered here through this
// upstream from those that upstream has no business to send. It works in place.
func (u *upstream) sift(events edition.Update) (mine, refused edition.Update) {
	mine = events[:0]
	var last edition.UAID
	var why result
	for i, e := range events {
		if i == 0 || e.UAID != last {
			last, why = e.UAID, u.check(e.UAID)
		}
		if why == "" {
			mine = append(mine, e)
			continue
		}
		refused = append(refused, e)
		u.count(why, 1)
	}
	return mine, refused
}

// check returns why upstream must not send events for a device, or "". A store
// that cannot be read says so in Deliver.
func (u *upstream) check(uaid edition.UAID) result {
	a, err := u.relay.store.Agent(uaid)
	switch {
	case errors.Is(err, edition.ErrNotFound):
		return resultUnknown
	case err == nil && a.Upstream != u.name:
		return resultForeign
	}
	return ""
}

func (u *upstream) count(r result, n int) {
	if n > 0 {
		u.m.events.WithLabelValues(string(r)).Add(float64(n))
	}
}
