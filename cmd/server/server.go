// Package server is `edition server`: publish and session over one hub.
//
// It promises that what is made here is what the role consists of, on one
// screen. It knows no protocol and keeps nothing.
package server

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/publish"
)

// Run is a server until ctx ends; then it drains and returns nil. Errors wrap
// one of package edition's errors that end a process.
func Run(ctx context.Context, cfg configs.Server, o serve.Options) error {
	lost := exists(cfg.DataFile(configs.RoleServer)) && !exists(cfg.KeyringFile())
	n, err := serve.Open(ctx, configs.RoleServer, cfg.Node, o)
	if err != nil {
		return err
	}
	if lost {
		n.Log.Warn("the data file has lost its endpoint keys: new ones are made, and endpoints made before answer 404 until the old key file is back", "keys_file", cfg.KeyringFile())
	}
	p, err := build(n, cfg)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	greet(n, cfg)
	return n.Serve(ctx, p)
}

func build(n *serve.Node, cfg configs.Server) (serve.Parts, error) {
	keys, err := publish.LoadKeyring(cfg.KeyringFile())
	if err != nil {
		return serve.Parts{}, err
	}
	relays, err := knownRelays(cfg.Data, cfg.Relays)
	if err != nil {
		return serve.Parts{}, err
	}
	core, err := n.Core(nil)
	if err != nil {
		return serve.Parts{}, err
	}
	side, err := n.Side(core, configs.Rights{})
	if err != nil {
		return serve.Parts{}, err
	}
	publicURL := cmp.Or(cfg.PublicURL, n.URL)
	registrar := publish.NewRegistrar(keys, publicURL, n.Store)
	apps := publish.New(publish.Options{
		Keys:      keys,
		PublicURL: publicURL,
		Store:     n.Store,
		Deliver:   core.Hub.Deliver,
		Withdraw:  core.Hub.Withdraw,
		Connected: core.Hub.Connected,
		Watch:     core.Hub.Watch,
		Limits: publish.Limits{
			Waiting:  cfg.Publish.Waiting,
			Wait:     cfg.Publish.Wait,
			Rate:     cfg.Publish.EndpointRate,
			Burst:    cfg.Publish.EndpointBurst,
			Batches:  cfg.Publish.Batches,
			Receipts: cfg.Publish.Receipts,
			Idle:     cfg.Publish.Idle,
		},
		Log:     n.Log,
		Metrics: n.Metrics,
	})
	sessions := n.Sessions(core, registrar, relays)
	return serve.Parts{
		Core:      core,
		Side:      side,
		Sessions:  sessions,
		Apps:      apps,
		DrainApps: apps.Drain,
		Reloads: []serve.Reloader{
			func(serve.Fresh) (serve.Change, error) {
				use, err := keys.Reload()
				return serve.Changed("endpoint keys", use, err)
			},
			serve.ReloadRelays(sessions, relays, func(c configs.Node) ([]configs.Peer, error) { return knownRelays(cfg.Data, c.Relays) }),
		},
	}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
