package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Run keeps the device connected, or asleep, until ctx ends, then returns nil.
// It ends with an error when upstream refuses a registration for good: a wrong
// secret, or a route that the operator does not allow.
func (d *Device) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	d.mu.Lock()
	for id := range d.apps {
		d.announce[id] = true
	}
	d.mu.Unlock()
	ring(d.work)
	var local net.Addr
	if d.cfg.UDP != "" {
		conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", d.cfg.UDP)
		if err != nil {
			return fmt.Errorf("%w: %w", edition.ErrListen, err)
		}
		local = conn.LocalAddr()
		g.Go(func() error { return d.hear(ctx, conn) })
	}
	g.Go(func() error { return d.callApps(ctx) })
	if d.sleeps() {
		g.Go(func() error { return d.slumber(ctx, local) })
	} else {
		g.Go(func() error { return d.client.Run(ctx) })
		g.Go(func() error { return d.keepRegistered(ctx, local) })
	}
	return g.Wait()
}

// Enrol registers what is to be registered, over REST and without Run, and
// returns when upstream has all. It comes back when upstream says so, until
// ctx ends.
func (d *Device) Enrol(ctx context.Context) error {
	pauses := newRetry(d.client.cfg.RetryMax)
	for {
		err := d.client.Visit(ctx, func(ctx context.Context, _ func() error) error {
			kick, err := d.kick(ctx, nil)
			if err != nil {
				return err
			}
			return d.enrol(ctx, kick)
		})
		if err == nil || permanent(err) {
			return err
		}
		if sleep(ctx, pauses.next(err, 0)); ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// callApps is the goroutine on which apps are called.
func (d *Device) callApps(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.work:
			d.callEndpoints()
			d.callVersions()
			d.passed()
		}
	}
}

func (d *Device) callEndpoints() {
	d.mu.Lock()
	var calls []func()
	for _, a := range d.state.Apps {
		app := d.apps[a.AppID]
		if a.Endpoint == "" || app == nil || !d.announce[a.AppID] {
			continue
		}
		delete(d.announce, a.AppID)
		if app.OnEndpoint != nil {
			endpoint := a.Endpoint
			calls = append(calls, func() { app.OnEndpoint(endpoint) })
		}
	}
	d.mu.Unlock()
	for _, f := range calls {
		d.guard(f)
	}
}

func (d *Device) guard(f func()) {
	defer func() {
		if r := recover(); r != nil {
			d.cfg.Log.Error("an app panicked", "uaid", d.who.UAID, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	f()
}

// keepRegistered registers what is due whenever there is a connection.
func (d *Device) keepRegistered(ctx context.Context, local net.Addr) error {
	pauses := newRetry(d.client.cfg.RetryMax)
	var again, asked <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.sign:
		case <-again:
		case <-asked:
			d.ask()
		}
		again, asked = nil, nil
		if s := d.client.State(); !s.Connected {
			if s.Asleep && d.owes(ctx, local) {
				d.client.Wake()
			}
			continue // Connected rings
		}
		kick, err := d.kick(ctx, local)
		if err == nil {
			err = d.enrol(ctx, kick)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case permanent(err):
			return err
		case err != nil:
			pause := pauses.next(err, 0)
			d.cfg.Log.Info("cannot register now", "uaid", d.who.UAID, "err", err, "retry_in", pause.Round(time.Millisecond))
			again = time.After(pause)
		default:
			pauses.exp.Reset()
			if d.waitsForCode() {
				asked = time.After(spread(d.cfg.Safety))
			}
		}
	}
}

// enrol registers what is due and withdraws what is to go. The kick route goes
// along, or alone when upstream has another one.
func (d *Device) enrol(ctx context.Context, kick json.RawMessage) error {
	ctx, cancel := context.WithTimeout(ctx, 4*callTimeout)
	defer cancel()
	due, leaving := d.dues()
	for _, a := range due {
		id := a.AppID
		endpoint, confirming, err := d.client.register(ctx, d.who, id, a.Key, kick)
		if err != nil {
			return fmt.Errorf("register: %w", err)
		}
		d.tell(kick, confirming)
		if err := d.registered(id, a.Key, endpoint); err != nil {
			return err
		}
	}
	d.mu.Lock()
	stale := len(due) == 0 && d.stale(kick) // else it went along
	d.mu.Unlock()
	if stale {
		m := &wire.Message{Kick: kick}
		if kick == nil {
			m.Kick = json.RawMessage("null") // forget what you were told
		}
		confirming, err := d.client.kick(ctx, &d.who, m)
		if err != nil {
			return fmt.Errorf("kick route: %w", err)
		}
		d.tell(kick, confirming)
	}
	if err := d.confirm(ctx); err != nil {
		return err
	}
	for _, id := range leaving {
		// Upstream may have forgotten the device, and then says so.
		if err := d.client.Unregister(ctx, wire.Agent{UAID: d.who.UAID, Secret: d.who.Secret}, id); err != nil && !permanent(err) {
			return fmt.Errorf("unregister: %w", err)
		}
		if err := d.left(id); err != nil {
			return err
		}
	}
	return nil
}

// owes reports whether there is something to tell upstream, which a device that
// sleeps connects for. A ring of the last connection may come late.
func (d *Device) owes(ctx context.Context, local net.Addr) bool {
	kick, err := d.kick(ctx, local)
	if err != nil {
		return true // enrol says what is wrong, when there is a connection
	}
	due, leaving := d.dues()
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(due) > 0 || len(leaving) > 0 || d.stale(kick) || d.confirming && len(d.codes) > 0
}

// stale reports whether upstream knows of other ways to wake the device than
// kick, and has an app to keep them with. Callers hold mu.
func (d *Device) stale(kick json.RawMessage) bool {
	return len(d.state.Apps) > 0 && d.told != string(kick)
}

// dues returns the apps to register and those to unregister.
func (d *Device) dues() (due []appState, leaving []edition.AppID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.state.Apps {
		switch {
		case a.Leaving:
			leaving = append(leaving, a.AppID)
		case d.due[a.AppID]:
			due = append(due, *a)
		}
	}
	for id := range d.strays {
		leaving = append(leaving, id)
	}
	return due, leaving
}

func (d *Device) registered(id edition.AppID, key []byte, endpoint string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.state.app(id)
	if a != nil && !bytes.Equal(a.Key, key) { // another key was set meanwhile
		ring(d.sign)
		return nil
	}
	delete(d.due, id)
	if a == nil || a.Endpoint == endpoint {
		return nil
	}
	old := a.Endpoint
	a.Endpoint = endpoint
	if err := d.save(); err != nil {
		a.Endpoint = old
		d.due[id] = true
		return err
	}
	d.announce[id] = true
	ring(d.work)
	return nil
}

func (d *Device) left(id edition.AppID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.strays, id)
	n := len(d.state.Apps)
	d.state.Apps = slices.DeleteFunc(d.state.Apps, func(a *appState) bool { return a.AppID == id && a.Leaving })
	if len(d.state.Apps) == n {
		return nil
	}
	return d.save()
}
