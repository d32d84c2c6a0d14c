package wakeup

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// watch checks the local nodes until ctx ends.
func (g *global) watch(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(g.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		g.checkAll(ctx, log)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// checkAll asks each local node once, also one that serves several networks.
func (g *global) checkAll(ctx context.Context, log *slog.Logger) {
	hosts := make(map[string][]*network)
	for _, n := range g.networks {
		if n.Host != "" {
			hosts[n.Host] = append(hosts[n.Host], n)
		}
	}
	var checks errgroup.Group
	checks.SetLimit(checkParallel)
	for host, nets := range hosts {
		checks.Go(func() error {
			status, err := g.get(ctx, host+pathStatus, http.Header{
				"X-Client-Cert-Verified": {"SUCCESS"}, "X-Client-Cert-Dn": {"CN=edition"}, "X-Real-Ip": {"0.0.0.0"},
			})
			if ctx.Err() != nil {
				return nil
			}
			for _, n := range nets {
				down := err != nil || status != http.StatusOK
				if n.down.Swap(down) != down {
					log.Info("a local node changed its state", "netid", n.NetID, "online", !down, "status", status, "err", err)
				}
				g.m.online(n.NetID, !n.offline())
			}
			return nil
		})
	}
	checks.Wait() //nolint:errcheck // none returns one
}
