package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/client"
)

// device is one of the demo's devices, with one app.
type device struct {
	name, where string
	asleep      bool
	endpoint    string // set once, before the story
	dev         *client.Device

	last atomic.Uint64 // the last version that the app was called with
	rung chan struct{} // doorbell: last has changed
}

// device makes a device, runs it and waits for its endpoint. change says what
// is special about it.
func (s *stage) device(ctx context.Context, name, where string, at addrs, change func(*client.DeviceConfig)) (*device, error) {
	d := &device{name: name, where: where, rung: make(chan struct{}, 1)}
	cfg := client.DeviceConfig{
		Config: client.Config{URL: at.URL, Proxy: client.ProxyDirect, Log: s.log.With("node", name)},
		State:  filepath.Join(s.dir, name+".json"),
	}
	change(&cfg)
	dev, err := client.OpenDevice(cfg)
	if err != nil {
		return nil, err
	}
	d.dev = dev
	endpoint := make(chan string, 1)
	err = dev.Register(client.App{
		Name: "demo",
		OnEndpoint: func(e string) {
			select {
			case endpoint <- e:
			default:
			}
		},
		OnVersion: func(v edition.Version) {
			s.out.step(name, "calls its app with version %d, and acknowledges it", v)
			d.last.Store(uint64(v))
			select {
			case d.rung <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		return nil, err
	}
	s.actors.Go(func() error {
		err := dev.Run(s.acting)
		s.fail(name, err)
		return err
	})
	select {
	case d.endpoint = <-endpoint:
	case err := <-s.failed:
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s got no endpoint: %w", name, context.Cause(ctx))
	}
	s.out.step(name, "registered at %s, %s", at.name, where)
	s.devices = append(s.devices, d)
	return d, nil
}

// newToken is a bearer token for a relay.
func newToken() string { return rand.Text() }
