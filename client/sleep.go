package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"time"

	"github.com/edition-push/edition"
)

// Looks at upstream: wakeBurst may follow each other at once, then one a
// wakeGap.
const (
	wakeGap   = time.Second
	wakeBurst = 3
)

// pacer is a token bucket of looks.
type pacer struct {
	looks float64 // that may follow at once
	last  time.Time
}

// wait takes a look off, and returns how long the next one has to wait.
func (p *pacer) wait(now time.Time) time.Duration {
	if p.last.IsZero() {
		p.looks = wakeBurst
	} else {
		p.looks = min(wakeBurst, p.looks+now.Sub(p.last).Seconds()/wakeGap.Seconds())
	}
	p.last = now
	p.looks--
	return max(0, time.Duration((1-p.looks)*float64(wakeGap)))
}

// slumber is Run of a device that is not connected: it looks at upstream at the
// start, when a datagram comes and every Safety.
func (d *Device) slumber(ctx context.Context) error {
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", d.cfg.UDP)
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrListen, err)
	}
	wake := make(chan struct{}, 1)
	heard := make(chan error, 1)
	go func() { heard <- d.listen(conn, wake) }()
	defer func() {
		conn.Close() //nolint:errcheck // nothing was written
		<-heard      //nolint:errcheck // that it was closed
	}()
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
		err := d.look(ctx, conn.LocalAddr())
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
		case err := <-heard:
			heard <- err
			return fmt.Errorf("%w: %w", edition.ErrListen, err)
		case <-wake:
		case <-d.sign:
		case <-time.After(pause):
		}
	}
}

// listen rings for every datagram until conn is closed. What a datagram says
// is shown to OnWake and means nothing otherwise.
func (d *Device) listen(conn net.PacketConn, wake chan struct{}) error {
	var buf [512]byte // the rest of a datagram is dropped
	for {
		n, _, err := conn.ReadFrom(buf[:])
		if err != nil {
			return err
		}
		if d.cfg.OnWake != nil {
			d.cfg.OnWake(string(buf[:n]))
		}
		ring(wake)
	}
}

// look registers what is due and takes what waits.
func (d *Device) look(ctx context.Context, local net.Addr) error {
	route, err := d.route(ctx, local)
	if err != nil {
		return err
	}
	return d.client.Visit(ctx, func(ctx context.Context, poll func() error) error {
		if err := d.enrol(ctx, route); err != nil {
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
		if err := d.enrol(ctx, route); err != nil {
			return err
		}
		return poll()
	})
}

// route is the kick object that a sleeping device registers.
func (d *Device) route(ctx context.Context, local net.Addr) (json.RawMessage, error) {
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrListen, err)
	}
	ip := at.Addr().Unmap()
	if ip.IsUnspecified() {
		if ip, err = d.client.localAddr(ctx); err != nil {
			return nil, err
		}
	}
	kick := map[string]any{"ip": ip.WithZone("").String(), "port": at.Port(), "proto": "udp"}
	maps.Copy(kick, d.cfg.Route)
	return json.Marshal(kick)
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
