package relay

import (
	"context"
	"time"

	"github.com/edition-push/edition"
)

const (
	reportChunk   = 2000 // events reported between two barriers
	reportTimeout = 30 * time.Second
	reportPause   = time.Second // after a failure while the connection stays
)

// keepReporting passes up what devices have acknowledged. Reports are state in
// the store, not messages: while one chunk is on its way the next gathers, and
// after a new connection, or a crash, it begins from the first.
func (u *upstream) keepReporting(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.reports:
		}
		for more := u.client.State().Connected; more && ctx.Err() == nil; {
			n, err := u.report(ctx)
			if err != nil && u.client.State().Connected {
				u.log.Warn("cannot report deliveries to upstream now", "err", err)
				pause(ctx, reportPause)
				ring(u.reports)
			}
			more = err == nil && n > 0
		}
	}
}

// report passes one chunk up and forgets it when upstream has processed it, and
// what upstream had sent before is kept: that may be the same events again, and
// a message that was forgotten would pass for a new one.
func (u *upstream) report(ctx context.Context) (int, error) {
	list, err := u.relay.store.Reports(nil, u.name, edition.Key{}, reportChunk)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	u.m.reporting.Set(float64(len(list)))
	defer u.m.reporting.Set(0)
	if err := u.client.Ack(list); err != nil {
		return 0, err
	}
	call, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if err := u.client.Barrier(call); err != nil {
		return 0, err
	}
	u.coming.wait()
	if err := u.relay.store.Reported(list); err != nil {
		return 0, err
	}
	u.m.reported.Add(float64(len(list)))
	return len(list), nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
