package peer

import (
	"context"
	"errors"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/session"
)

// Peer is one device on one connection. Its fields are owned by the goroutine
// that takes messages.
type Peer struct {
	*session.Device

	UAID  edition.UAID // once Held
	Held  bool         // a hello was taken
	Known bool         // it has registered an app, here or before

	pingMin time.Duration
	pinged  time.Time
	routes  edition.Routes // to be kept with the first registration
}

// New returns the peer of a connection. pingMin is how long a device has to
// wait between two pings, 0 for no time.
func New(d *session.Device, pingMin time.Duration) *Peer { return &Peer{Device: d, pingMin: pingMin} }

// Ping notes a ping. It is false when it has come too soon after the last one.
func (p *Peer) Ping() bool {
	now := time.Now()
	if p.pingMin > 0 && !p.pinged.IsZero() && now.Sub(p.pinged) < p.pingMin {
		return false
	}
	p.pinged = now
	return true
}

// Identify finds out whether a UAID may be taken: it is known, or nobody's, but
// not that of a device which has a secret to show.
func (p *Peer) Identify(uaid edition.UAID) (usable, known bool, err error) {
	p.Do(func(ctx context.Context) { known, err = p.Claim(ctx, uaid) })
	if errors.Is(err, edition.ErrUnauthorized) {
		return false, false, nil
	}
	return err == nil, known, err
}

// Drop unregisters everything of a device that gets another UAID.
func (p *Peer) Drop(uaid edition.UAID) (err error) {
	p.Do(func(ctx context.Context) { err = p.Forget(ctx, uaid) })
	if err != nil {
		p.Log().Debug("cannot forget a device that gets another uaid", "uaid", uaid, "err", err)
	}
	return err
}

// Woken notes how the device is woken: now when it is known, else with its
// first registration.
func (p *Peer) Woken(uaid edition.UAID, known bool, routes edition.Routes) {
	if !known {
		p.routes = routes
		return
	}
	var err error
	p.Do(func(ctx context.Context) { err = p.Wakes(ctx, uaid, routes) })
	if err != nil {
		p.Log().Warn("cannot keep how a device is woken", "uaid", uaid, "err", err)
	}
}

// Subscribe registers an app.
func (p *Peer) Subscribe(r edition.Registration) (endpoint string, err error) {
	r.UAID = p.UAID
	if !p.Known && len(p.routes) > 0 {
		r.Routes = p.routes
	}
	p.Do(func(ctx context.Context) { endpoint, err = p.Register(ctx, r) })
	p.Known = p.Known || err == nil
	return endpoint, err
}

// Unsubscribe withdraws an app's endpoint.
func (p *Peer) Unsubscribe(app edition.AppID) (err error) {
	p.Do(func(ctx context.Context) { err = p.Unregister(ctx, p.UAID, app) })
	if err != nil {
		p.Log().Debug("cannot withdraw an endpoint", "uaid", p.UAID, "err", err)
	}
	return err
}
