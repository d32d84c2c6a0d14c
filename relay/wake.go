package relay

import (
	"context"
	"time"

	"github.com/edition-push/edition/wire"
)

const (
	// maxWaking is how many requests of one upstream are worked on at once.
	maxWaking = 256
	// wakeTimeout is a little less than upstream waits.
	wakeTimeout = wire.MaxWake - 2*time.Second
)

// wake has a device woken that upstream names, and tells upstream what came of
// it. The connection goes on reading meanwhile.
func (u *upstream) wake(w wire.Wake) {
	select {
	case u.waking <- struct{}{}:
	default:
		u.woken(wire.Woken{ID: w.ID, Woken: wire.WakeResult{
			Outcome: "rate_limited", Detail: "too many requests are being worked on", RetryAfter: 1,
		}})
		return
	}
	u.receiving.Go(func() {
		defer func() { <-u.waking }()
		ctx, cancel := context.WithTimeout(u.base, wakeTimeout)
		defer cancel()
		res := wire.WakeResult{Outcome: "refused", Detail: "this relay wakes nobody for its upstreams"}
		if u.relay.wake != nil {
			res = u.relay.wake(ctx, w.Wake)
		}
		u.woken(wire.Woken{ID: w.ID, Woken: res})
	})
}

func (u *upstream) woken(a wire.Woken) {
	result := "told"
	if err := u.client.Woken(a); err != nil {
		result = "lost"
		u.log.Debug("upstream was not told what came of a kick", "outcome", a.Woken.Outcome, "err", err)
	}
	u.m.wakes.WithLabelValues(result).Inc()
}
