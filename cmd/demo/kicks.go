package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/edition-push/edition/client"
	"github.com/edition-push/edition/cmd/internal/peers"
	"github.com/edition-push/edition/configs"
)

// The demo's names for its nodes, and for the network that the carrier knows.
const (
	inside    = "near"
	carrier   = "carrier"
	elsewhere = "hq"
	netID     = "lab.plant"
)

// kickGrace is how long the demo's devices may be away before they are kicked.
const kickGrace = "50ms"

// sleeper is a device that one driver wakes.
type sleeper struct {
	*device
	driver    string
	node      addrs // where it registers
	connected int   // parties there when everybody sleeps: relays

	put, kicked, told, delivered time.Time // kicked is guarded by kickStage.mu
}

// kickStage is a relay with every kick driver, what those speak to, and a
// sleeping device for each.
type kickStage struct {
	*stage
	sleepers []*sleeper
	ends     []func() error // of the peers
	apart    map[string]*peers.Peer

	mu  sync.Mutex
	who map[string]*sleeper // Guarded by mu. By the peer that wakes them.
}

// openKicks starts the peers, the nodes and the devices.
func openKicks(ctx context.Context, dir string, out *transcript) (_ *kickStage, err error) {
	base, err := newStage(ctx, dir, out)
	if err != nil {
		return nil, err
	}
	s := &kickStage{stage: base, apart: make(map[string]*peers.Peer), who: make(map[string]*sleeper)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	entries, err := s.openPeers()
	if err != nil {
		return nil, err
	}
	if err := s.openNodes(ctx, entries); err != nil {
		return nil, err
	}
	return s, s.openDevices(ctx)
}

// openPeers starts what the drivers speak to and returns the entries that lead
// there. Devices that a datagram wakes at last have a listener each.
func (s *kickStage) openPeers() (entries []map[string]any, err error) {
	for _, name := range []string{"apns", "fcm", "webpush", "webhook", "mqtt", "smpp"} {
		p, err := s.peer(name, name)
		if err != nil {
			return nil, err
		}
		p.Entry["grace"] = kickGrace
		entries = append(entries, p.Entry)
		s.out.step(name, "stands in for what driver %s speaks to: %s", p.Entry["driver"], p.URL)
	}
	for _, device := range []string{"modem", "camera", "pump"} {
		if _, err := s.peer("udp", device); err != nil {
			return nil, err
		}
	}
	hook, err := s.openHook()
	if err != nil {
		return nil, err
	}
	entries = append(entries, map[string]any{"driver": "udp", "grace": kickGrace, "networks": []any{
		map[string]any{"name": "loopback", "cidrs": []any{"127.0.0.0/8"}},
	}}, hook, map[string]any{"driver": "log"})
	return entries, nil
}

// peer starts a simulator that wakes the sleepers of that key.
func (s *kickStage) peer(kind, key string) (*peers.Peer, error) {
	k, ok := peers.Find(kind)
	if !ok {
		return nil, fmt.Errorf("there is no peer %s", kind)
	}
	p, err := k.Start(peers.Options{
		Dir: filepath.Join(s.dir, key), Log: s.log.With("node", key),
		OnPush: func(p peers.Push) { s.woken(key, p.Text) },
	})
	if err == nil {
		s.apart[key] = p
		s.ends = append(s.ends, p.Close)
	}
	return p, err
}

// woken is the device's system: it hears the kick and tells the client.
func (s *kickStage) woken(key, text string) {
	s.mu.Lock()
	d := s.who[key]
	if d != nil && d.kicked.IsZero() {
		d.kicked = time.Now()
	}
	s.mu.Unlock()
	if d == nil {
		return
	}
	s.out.step(d.name, "is kicked, %.110s", text)
	d.dev.Wake("")
}

// openNodes starts a server and the relay inside, a carrier's wake-up platform,
// and another server that uses the relay as a gateway.
func (s *kickStage) openNodes(ctx context.Context, entries []map[string]any) error {
	limits := configs.Rights{Drivers: []string{"udp"}, Rate: 100, Burst: 100}
	outside, err := s.server(ctx, "server", inside, func(c *configs.Server) {
		c.Kicks = []map[string]any{{"driver": "gateway", "relay": inside, "grace": kickGrace}}
	})
	if err != nil {
		return err
	}
	platform, err := s.server(ctx, carrier, "", func(c *configs.Server) {
		c.Wakeup.Listen, c.Wakeup.Allow, c.Wakeup.Driver = "127.0.0.1:0", []string{"127.0.0.0/8"}, "udp"
		c.Wakeup.Global.Networks = []configs.WakeupNetwork{{NetID: netID, Range: []string{"127.0.0.0/8"}}}
	})
	if err != nil {
		return err
	}
	token := newToken()
	relay, err := s.relay(ctx, inside, outside, "", func(c *configs.Relay) {
		c.Kicks = append(entries, map[string]any{"driver": "wakeup", "url": platform.Wakeup, "grace": kickGrace})
		c.Gateway.Listen = "127.0.0.1:0"
		c.Gateway.Callers = []configs.Caller{{Name: elsewhere, Token: configs.Secret(token), Rights: limits}}
		c.UpstreamKicks = limits
	})
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "gateway.token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return err
	}
	hq, err := s.server(ctx, elsewhere, "", func(c *configs.Server) {
		c.Kicks = []map[string]any{{"driver": "gateway", "url": relay.Gateway, "token": map[string]any{"file": file}, "grace": kickGrace}}
	})
	if err != nil {
		return err
	}
	for _, d := range []struct {
		name, driver, key string
		at                addrs
		connected         int
	}{
		{"sensor", "udp", "", relay, 0},
		{"modem", "wakeup", "modem", relay, 0},
		{"iphone", "apns", "apns", relay, 0},
		{"android", "fcm", "fcm", relay, 0},
		{"browser", "webpush", "webpush", relay, 0},
		{"lamp", "webhook", "webhook", relay, 0},
		{"meter", "mqtt", "mqtt", relay, 0},
		{"tracker", "sms", "smpp", relay, 0},
		{"pager", "exec", hookKey, relay, 0},
		{"camera", "gateway", "camera", hq, 0},
		{"pump", "gateway", "pump", outside, 1},
	} {
		sl := &sleeper{device: &device{name: d.name}, driver: d.driver, node: d.at, connected: d.connected}
		s.sleepers = append(s.sleepers, sl)
		if d.key != "" {
			s.who[d.key] = sl
		}
	}
	return nil
}

// openDevices registers the sleepers.
func (s *kickStage) openDevices(ctx context.Context) error {
	keys := make(map[*sleeper]string)
	s.mu.Lock()
	for key, sl := range s.who {
		keys[sl] = key
	}
	s.mu.Unlock()
	for _, sl := range s.sleepers {
		how := map[string]string{
			"modem": "through the carrier's wake-up platform", "camera": "by near's gateway", "pump": "by near, over its own connection",
		}[sl.name]
		if how == "" {
			how = "by " + sl.driver
		}
		kick, err := s.route(sl, keys[sl])
		if err != nil {
			return err
		}
		d, err := s.device(ctx, sl.name, "asleep, woken "+how, sl.node, func(c *client.DeviceConfig) {
			if sl.driver == "udp" {
				c.UDP, c.Route = "127.0.0.1:0", map[string]any{"driver": "udp"}
				c.OnWake = func(payload string) { s.hears(sl, payload) }
				return
			}
			c.Sleep, c.Kick = true, kick
		})
		if err != nil {
			return err
		}
		s.mu.Lock()
		sl.device = d
		s.mu.Unlock()
	}
	return nil
}

// hears is woken for a device that listens for datagrams itself.
func (s *kickStage) hears(sl *sleeper, payload string) {
	s.mu.Lock()
	if sl.kicked.IsZero() {
		sl.kicked = time.Now()
	}
	s.mu.Unlock()
	s.out.step(sl.name, "is kicked by a datagram: %q", payload)
}

// route is how a sleeper can be woken, as it registers it.
func (s *kickStage) route(sl *sleeper, key string) (json.RawMessage, error) {
	target := map[string]any{}
	if p := s.apart[key]; p != nil {
		target = maps.Clone(p.Target)
	}
	switch sl.driver {
	case "wakeup":
		target["netid"] = netID
	case "exec":
		target["to"] = sl.name
	case "gateway":
		target["driver"] = "udp"
		target = map[string]any{"route": target}
	}
	target["driver"] = sl.driver
	return json.Marshal(target)
}

// close ends the devices and the nodes, then the peers.
func (s *kickStage) close() error {
	err := s.stage.close()
	for _, end := range s.ends {
		err = errors.Join(err, end())
	}
	return err
}
