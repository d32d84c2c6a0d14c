package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition/client"
	"github.com/edition-push/edition/wire"
)

// maxReceiving bounds the UPDATEs being kept at once. An upstream's window is
// smaller; one that sends more is not read until some are done.
const maxReceiving = 64

// upstream is the client of one upstream and what goes to and fro.
type upstream struct {
	// Fixed after construction.
	relay  *Relay
	name   string
	kick   json.RawMessage
	client *client.Client
	log    *slog.Logger
	m      *metrics

	base      context.Context // Set by run before anything comes in; ends with it.
	receiving sync.WaitGroup
	coming    *fence        // of UPDATEs, until they are kept
	slots     chan struct{} // one for each UPDATE being kept
	waking    chan struct{} // one for each request to wake a device

	way atomic.Pointer[[]string] // see Relay.Way; as upstream said last

	reports chan struct{} // doorbell: the store may have reports
	kicks   chan struct{} // doorbell: connected, tell how to wake this relay
	herald  herald
}

func newUpstream(r *Relay, self string, c Upstream, reg prometheus.Registerer) (*upstream, error) {
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"upstream": c.Name}, reg)
	u := &upstream{
		relay: r, name: c.Name, kick: c.Kick, log: r.log.With("upstream", c.Name), m: newMetrics(reg),
		coming: newFence(), slots: make(chan struct{}, maxReceiving), reports: make(chan struct{}, 1), kicks: make(chan struct{}, 1),
		waking: make(chan struct{}, maxWaking),
		herald: newHerald(),
	}
	var err error
	u.client, err = client.New(client.Config{
		URL: c.URL, Mode: c.Mode, Wait: c.Wait, Interval: c.Interval, Proxy: c.Proxy, TLS: c.TLS, Dial: c.Dial,
		Relay: cmp.Or(c.Relay, self), Token: c.Token, StoreID: r.store.ID(), Custody: c.Custody,
		Update: u.update, Connected: u.connected, Wake: u.wake, Gone: u.gone, Way: u.noteWay,
		RetryMax: cmp.Or(c.RetryMax, DefaultRetryMax), Log: u.log, Metrics: client.NewMetrics(reg),
	})
	return u, err
}

func (u *upstream) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	u.base = ctx
	g.Go(func() error { return u.client.Run(ctx) })
	g.Go(func() error { return u.keepReporting(ctx) })
	g.Go(func() error { return u.keepHeralding(ctx) })
	g.Go(func() error { return u.keepKicked(ctx) })
	err := g.Wait()
	u.receiving.Wait()
	return err
}

// connected starts everything that waited for the connection.
func (u *upstream) connected() {
	u.log.Info("connected to upstream", "host", u.client.Host(), "transport", u.client.State().Transport)
	ring(u.reports)
	ring(u.kicks)
	ring(u.herald.bell)
}

// gone notes that upstream cannot wake this relay any more as it was told to. It
// is told again now that there is a connection, see connected.
func (u *upstream) gone(list []wire.Gone) {
	for _, g := range list {
		if g.UAID == nil {
			u.log.Warn("upstream found that a route to this relay does not work any more", "drivers", g.Drivers)
		}
	}
}

// keepKicked tells upstream how to wake this relay, once a connection.
func (u *upstream) keepKicked(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.kicks:
		}
		if u.kick == nil {
			continue
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		if err := u.client.Kick(call, nil, u.kick); err != nil {
			u.log.Warn("upstream does not take the kick route of this relay", "err", err)
		}
		cancel()
	}
}
