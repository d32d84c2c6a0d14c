package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition/client"
	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/cmd/relay"
	"github.com/edition-push/edition/cmd/server"
	"github.com/edition-push/edition/configs"
)

// stage is the running demo: nodes first, then devices.
type stage struct {
	out     *transcript
	dir     string
	log     *slog.Logger
	logFile *os.File
	devices []*device
	last    addrs // the node farthest from the server

	// Each node and each device runs in the group; the first that ends with
	// an error shows in failed.
	failed  chan error
	actors  errgroup.Group
	endActs context.CancelFunc // devices
	acting  context.Context
	endNode context.CancelFunc // nodes, after the devices
	nodes   context.Context
	running errgroup.Group
}

// addrs is where a node can be reached, and how to become a relay behind it.
type addrs struct {
	serve.Addrs
	name  string
	token string // file
}

// newStage makes a stage with nobody on it.
func newStage(ctx context.Context, dir string, out *transcript) (_ *stage, err error) {
	s := &stage{out: out, dir: dir, failed: make(chan error, 1)}
	if s.logFile, err = os.Create(filepath.Join(dir, "demo.log")); err != nil {
		return nil, err
	}
	s.log = slog.New(slog.NewTextHandler(s.logFile, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.nodes, s.endNode = context.WithCancel(context.WithoutCancel(ctx))
	s.acting, s.endActs = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// openStage starts the nodes and registers the devices.
func openStage(ctx context.Context, dir string, out *transcript) (_ *stage, err error) {
	s, err := newStage(ctx, dir, out)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	near, far := "near", "far"
	top, err := s.server(ctx, "server", near, nil)
	if err != nil {
		return nil, err
	}
	mid, err := s.relay(ctx, near, top, far, nil)
	if err != nil {
		return nil, err
	}
	low, err := s.relay(ctx, far, mid, "", nil)
	if err != nil {
		return nil, err
	}
	s.last = low
	for _, d := range []struct {
		name, where string
		at          addrs
		asleep      bool
	}{
		{"phone", "connected to the server", top, false},
		{"tablet", "connected to far, two relays away", low, false},
		{"meter", "asleep behind far, woken by a UDP kick", low, true},
	} {
		change := func(c *client.DeviceConfig) {
			if d.asleep {
				c.UDP = "127.0.0.1:0"
				c.OnWake = func(payload string) { s.out.step(d.name, "is woken by a datagram from %s: %q", d.at.name, payload) }
			}
		}
		dev, err := s.device(ctx, d.name, d.where, d.at, change)
		if err != nil {
			return nil, err
		}
		dev.asleep = d.asleep
	}
	return s, nil
}

// server starts a server, which lets the relay child connect to it. tune, which
// may be nil, changes its configuration.
func (s *stage) server(ctx context.Context, name, child string, tune func(*configs.Server)) (addrs, error) {
	cfg := configs.DefaultServer()
	a, err := s.prepare(name, child, &cfg.Node)
	if err != nil {
		return a, err
	}
	if tune != nil {
		tune(&cfg)
	}
	err = s.start(ctx, &a, func(ctx context.Context, o serve.Options) error { return server.Run(ctx, cfg, o) })
	if err == nil {
		s.out.step(a.name, "listens on %s; versions are durable in %s", a.URL, cfg.DataFile(configs.RoleServer))
	}
	return a, err
}

// relay starts a relay behind up, and waits until it is connected. tune is as
// with server.
func (s *stage) relay(ctx context.Context, name string, up addrs, child string, tune func(*configs.Relay)) (addrs, error) {
	cfg := configs.DefaultRelay()
	cfg.Name = name
	u := configs.DefaultUpstream()
	u.Name, u.URL, u.TokenFile, u.Proxy = up.name, up.URL, up.token, "direct"
	token, err := os.ReadFile(up.token)
	if err != nil {
		return addrs{}, err
	}
	u.Token = configs.Secret(strings.TrimSpace(string(token)))
	cfg.Upstreams = []configs.Upstream{u}
	a, err := s.prepare(name, child, &cfg.Node)
	if err != nil {
		return a, err
	}
	if tune != nil {
		tune(&cfg)
	}
	err = s.start(ctx, &a, func(ctx context.Context, o serve.Options) error { return relay.Run(ctx, cfg, o) })
	if err != nil {
		return a, err
	}
	if err := a.awaitUpstream(ctx); err != nil {
		return a, err
	}
	s.out.step(name, "listens on %s; connected to %s", a.URL, up.name)
	return a, nil
}

// prepare gives a node free ports, a folder, and a token for a relay behind it.
func (s *stage) prepare(name, child string, n *configs.Node) (addrs, error) {
	n.Listen, n.Admin, n.Data = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(s.dir, name)
	n.Drain = 200 * time.Millisecond
	a := addrs{name: name, token: filepath.Join(s.dir, name+".token")}
	if child == "" {
		return a, nil
	}
	token := newToken()
	n.Relays = []configs.Peer{{Name: child, Token: configs.Secret(token)}}
	return a, os.WriteFile(a.token, []byte(token+"\n"), 0o600)
}

// start runs a node and waits until it answers.
func (s *stage) start(ctx context.Context, a *addrs, run func(context.Context, serve.Options) error) error {
	ready := make(chan serve.Addrs, 1)
	ended := make(chan error, 1)
	s.running.Go(func() error {
		err := run(s.nodes, serve.Options{Log: s.log.With("node", a.name), Ready: func(at serve.Addrs) { ready <- at }})
		ended <- err
		s.fail(a.name, err)
		return err
	})
	select {
	case a.Addrs = <-ready:
		return nil
	case err := <-ended:
		return fmt.Errorf("%s did not start: %w", a.name, err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *stage) fail(who string, err error) {
	if err == nil {
		return
	}
	select {
	case s.failed <- fmt.Errorf("%s: %w", who, err):
	default:
	}
}

// awaitUpstream waits until the node's /readyz shows its upstream connected.
func (a *addrs) awaitUpstream(ctx context.Context) error {
	for {
		var body struct {
			Upstreams []struct{ Connected bool }
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Admin+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := plain.Do(req)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(&body)
			resp.Body.Close()
		}
		if err == nil && len(body.Upstreams) == 1 && body.Upstreams[0].Connected {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not reach its upstream: %w", a.name, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// close ends the devices, then the nodes.
func (s *stage) close() error {
	s.endActs()
	err := s.actors.Wait()
	s.endNode()
	err = errors.Join(err, s.running.Wait())
	return errors.Join(err, s.logFile.Close())
}
