package client

import (
	"context"
	"fmt"
)

// Settle returns nil when upstream has processed the acks of all versions that
// the apps have been called with so far: what a program calls before it ends
// Run, so that those versions do not wait as if they had not been seen. Not
// from an app's own functions: they come before their acks. A sleeping device
// has settled when it sleeps again, and is edition.ErrUnavailable then.
func (d *Device) Settle(ctx context.Context) error {
	passed := make(chan struct{})
	d.mu.Lock()
	d.settling = append(d.settling, passed)
	d.mu.Unlock()
	ring(d.work)
	select {
	case <-passed:
		return d.client.Barrier(ctx)
	case <-ctx.Done():
		return fmt.Errorf("settle: %w", context.Cause(ctx))
	}
}

// passed tells those who settle that the apps' goroutine has acked what there
// was.
func (d *Device) passed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.settling {
		close(c)
	}
	d.settling = nil
}
