// Package relay is `edition relay`: the upstream side and session over one
// hub.
//
// It promises that what is made here is what the role consists of, on one
// screen. It knows no protocol and keeps nothing.
package relay

import (
	"context"
	"errors"

	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/relay"
)

// Run is a relay until ctx ends; then it drains and returns nil. Errors wrap
// one of package edition's errors that end a process.
func Run(ctx context.Context, cfg configs.Relay, o serve.Options) error {
	n, err := serve.Open(ctx, configs.RoleRelay, cfg.Node, o)
	if err != nil {
		return err
	}
	p, err := build(n, cfg)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	greet(n, cfg)
	return n.Serve(ctx, p)
}

func build(n *serve.Node, cfg configs.Relay) (serve.Parts, error) {
	ups, err := upstreams(cfg)
	if err != nil {
		return serve.Parts{}, err
	}
	var up *relay.Relay // there before anybody acknowledges anything
	core, err := n.Core(func() { up.Delivered() })
	if err != nil {
		return serve.Parts{}, err
	}
	side, err := n.Side(core, cfg.UpstreamKicks)
	if err != nil {
		return serve.Parts{}, err
	}
	up, err = relay.New(relay.Options{
		Name:      cfg.Name,
		Upstreams: ups,
		Store:     n.Store,
		Deliver:   core.Hub.Deliver,
		Below:     core.Below,
		Wake:      side.Gateway.Wake,
		Log:       n.Log,
		Metrics:   n.Metrics,
	})
	if err != nil {
		return serve.Parts{}, err
	}
	sessions := n.Sessions(core, up, cfg.Relays)
	return serve.Parts{
		Core:      core,
		Side:      side,
		Sessions:  sessions,
		Upstreams: func() any { return up.Upstreams() },
		Run:       []func(context.Context) error{up.Run},
		Reloads: []serve.Reloader{
			serve.ReloadRelays(sessions, cfg.Relays, func(c configs.Node) ([]configs.Peer, error) { return c.Relays, nil }),
			reloadTokens(up, cfg.Upstreams),
		},
	}, nil
}

// greet tells whoever started the relay what to do next.
func greet(n *serve.Node, cfg configs.Relay) {
	n.Say("edition relay on %s, admin on %s, data in %s", n.URL, n.Admin, cfg.DataFile(configs.RoleRelay))
	for _, u := range cfg.Upstreams {
		n.Say("upstream %s, there as %q", u.URL, u.Relay)
	}
	n.Say("\nTry it in another terminal: a device behind this relay, and a version for it:")
	n.Say("  edition listen --url %s", n.URL)
	n.Say("  curl -X PUT -d version=1 ENDPOINT          (the ENDPOINT that listen prints)\n")
}
