package serve

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition/session"
)

// Parts are what a role has put together on its node.
type Parts struct {
	Core
	Side
	Sessions  *session.Server
	Apps      http.Handler                  // nil on a relay
	DrainApps func()                        // ends what would not end by itself; may be nil
	Upstreams func() any                    // for /readyz; nil on a server
	Run       []func(context.Context) error // beside the hub, the kicks and the sessions
	Reloads   []Reloader                    // what the role itself reads again
}

// lastAnswers is how long requests under way may take when the drain is over.
const lastAnswers = 2 * time.Second

// Serve answers until ctx ends, then drains, makes the last commit and
// returns nil. It returns earlier with what failed: a commit whose outcome is
// unknown (edition.ErrDisk), or one of the parts. In either case everything
// that the node opened is closed.
func (n *Node) Serve(ctx context.Context, p Parts) error {
	door := newHTTP(Door{Role: n.role, Devices: p.Sessions, Apps: p.Apps}, n.Log)
	admin := newHTTP(n.admin(p), n.Log)
	admin.ReadTimeout = 0 // profiles take as long as they are asked to

	// The store outlives everything that writes to it, and both outlive ctx:
	// its end is where the drain begins.
	background := context.WithoutCancel(ctx)
	storeCtx, endStore := context.WithCancel(background)
	defer endStore()
	stored := make(chan error, 1)
	go func() { stored <- n.Store.Run(storeCtx) }()

	workCtx, endWork := context.WithCancel(background)
	defer endWork()
	work, workCtx := errgroup.WithContext(workCtx)
	for _, run := range slices.Concat(p.Run, p.Side.run(), []func(context.Context) error{p.Hub.Run, p.Kicks.Run, p.Sessions.Run}) {
		work.Go(func() error { return run(workCtx) })
	}
	work.Go(func() error { return n.reloadOn(workCtx, p) })
	servers := map[*http.Server]net.Listener{door: n.door, admin: n.private}
	if n.gateway.Listener != nil {
		servers[sideHTTP(p.Gateway, n.Log)] = n.gateway
		n.Log.Info("the gateway takes requests for kicks", "url", n.Gateway)
	}
	if n.wakeup.Listener != nil {
		servers[sideHTTP(p.Wakeup, n.Log)] = n.wakeup
		n.Log.Info("the wake-up API is open", "url", n.Wakeup)
	}
	for s, l := range servers {
		work.Go(func() error { return ignoreClosed(s.Serve(l)) })
	}
	n.Log.Info("ready", "role", n.role, "url", n.URL, "admin", n.Admin)
	if n.ready != nil {
		n.ready(n.Addrs)
	}

	var storeErr error
	running := true
	select {
	case <-ctx.Done():
		n.drain(background, p)
	case <-workCtx.Done(): // its error comes from Wait
	case storeErr = <-stored:
		running = false
		n.Log.Error("the store stopped", "err", storeErr)
	}
	n.draining.Store(true)
	p.Hub.Drain()
	p.Side.drain()
	shut(background, slices.Collect(maps.Keys(servers))...)
	endWork()
	workErr := work.Wait()
	endStore()
	if running {
		storeErr = <-stored
	}
	err := errors.Join(storeErr, n.Store.Close(), workErr)
	n.Log.Info("stopped", "role", n.role)
	return err
}

// drain refuses new events and closes connections over the drain time.
func (n *Node) drain(background context.Context, p Parts) {
	n.Log.Info("draining", "over", n.cfg.Drain)
	n.draining.Store(true)
	p.Hub.Drain()
	p.Side.drain()
	if p.DrainApps != nil {
		p.DrainApps()
	}
	ctx, cancel := context.WithTimeout(background, n.cfg.Drain)
	defer cancel()
	p.Sessions.Drain(ctx)
}

// shut lets requests under way end, within lastAnswers.
func shut(background context.Context, servers ...*http.Server) {
	ctx, cancel := context.WithTimeout(background, lastAnswers)
	defer cancel()
	var g errgroup.Group
	for _, s := range servers {
		g.Go(func() error {
			if s.Shutdown(ctx) != nil {
				return s.Close()
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // what is left is closed with the process
}
