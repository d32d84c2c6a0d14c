package client

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/edition-push/edition"
)

// slumber is Run of a device that is not connected: it looks at upstream at the
// start, when it is woken and every Safety. local is where it hears datagrams,
// or nil.
func (d *Device) slumber(ctx context.Context, local net.Addr) error {
	defer d.client.rest.close()
	pauses := newRetry(d.client.cfg.RetryMax)
	var pace pacer
	for {
		gap := pace.wait(time.Now())
		select {
		case <-d.sign: // this look sees to it
		default:
		}
		pause := spread(d.cfg.Safety)
		err := d.look(ctx, local)
		switch {
		case ctx.Err() != nil:
			return nil
		case permanent(err):
			return err
		case err != nil:
			pause = min(pause, pauses.next(err, 0))
			d.cfg.Log.Info("cannot look at upstream", "uaid", d.who.UAID, "err", err, "retry_in", pause.Round(time.Millisecond))
		default:
			pauses.exp.Reset()
		}
		d.client.rest.close() // a sleeping device keeps no connection
		if sleep(ctx, min(gap, pause)); ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.woken:
		case <-d.sign:
		case <-time.After(pause):
			if err == nil {
				d.ask()
			}
		}
	}
}

// look registers what is due and takes what waits.
func (d *Device) look(ctx context.Context, local net.Addr) error {
	kick, err := d.kick(ctx, local)
	if err != nil {
		return err
	}
	return d.client.Visit(ctx, func(ctx context.Context, poll func() error) error {
		if err := d.enrol(ctx, kick); err != nil {
			return err
		}
		d.mu.Lock()
		none := len(d.state.Apps) == 0
		d.mu.Unlock()
		if none {
			return nil
		}
		err := poll()
		if !unknown(err) {
			return err
		}
		d.refused([]edition.UAID{d.who.UAID})
		if err := d.enrol(ctx, kick); err != nil {
			return err
		}
		return poll()
	})
}

// localAddr returns the address that upstream sees, unless there is an address
// translation or a proxy on the way. It sends nothing.
func (c *Client) localAddr(ctx context.Context) (netip.Addr, error) {
	port := map[string]string{"http": "80", "https": "443"}[c.base.Scheme]
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", hostPort(c.base, port))
	if err != nil {
		return netip.Addr{}, fault(ReasonDial, "%w", err)
	}
	defer conn.Close()
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return at.Addr().Unmap(), err
}
