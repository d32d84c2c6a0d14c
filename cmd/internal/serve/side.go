package serve

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/gateway/wakeup"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Side are the doors for those who ask for kicks, and what answers there.
type Side struct {
	Gateway *gateway.Gateway // also without a listener, for a relay's upstreams
	Wakeup  *wakeup.Node     // nil: not configured
}

// Side makes them. upstream is what a relay's upstreams may ask for.
func (n *Node) Side(c Core, upstream configs.Rights) (s Side, err error) {
	g, w := n.cfg.Gateway, n.cfg.Wakeup
	s.Gateway = gateway.New(gateway.Options{
		Kicks: c.Kicks, Routes: n.Store.Routes, Callers: gatewayCallers(g.Callers), Upstream: rights(upstream),
		Keep: g.Keep, Outcomes: g.Outcomes, Log: n.Log, Metrics: n.Metrics,
	})
	if w.Listen == "" {
		return s, nil
	}
	global := wakeup.Global{
		CheckEvery: w.Global.CheckEvery, Timeout: w.Global.Timeout, Parallel: w.Global.Parallel,
		TLS: outbound.TLS{CAFile: w.Global.CAFile, CertFile: w.Global.CertFile, KeyFile: w.Global.KeyFile},
	}
	for _, c := range w.Global.Networks {
		global.Networks = append(global.Networks, wakeup.Network{
			NetID: c.NetID, MCC: c.MCC, MNC: c.MNC, Host: c.Host,
			Ranges: configs.Prefixes(c.Range), Protocols: c.Protocols, Offline: c.Offline,
		})
	}
	s.Wakeup, err = wakeup.New(wakeup.Options{
		Access: wakeup.Access{CertNames: w.CertNames, Proxies: configs.Prefixes(w.Proxies), Networks: configs.Prefixes(w.Allow)},
		Kicks:  c.Kicks, Driver: w.Driver, Global: global, Log: n.Log, Metrics: n.Metrics,
	})
	return s, err
}

func gatewayCallers(list []configs.Caller) []gateway.Caller {
	callers := make([]gateway.Caller, len(list))
	for i, c := range list {
		callers[i] = gateway.Caller{Name: c.Name, Tokens: c.Token.Tokens(), CertName: c.CertName, Rights: rights(c.Rights)}
	}
	return callers
}

func rights(r configs.Rights) gateway.Rights {
	return gateway.Rights{
		Drivers: r.Drivers, Networks: configs.Prefixes(r.Networks), Confirmed: r.Confirmed, Rate: r.Rate, Burst: r.Burst,
	}
}

// drain refuses who asks for kicks from now on.
func (s Side) drain() {
	if s.Gateway != nil {
		s.Gateway.Drain()
	}
	if s.Wakeup != nil {
		s.Wakeup.Drain()
	}
}

// run returns what the doors do beside answering.
func (s Side) run() []func(context.Context) error {
	if s.Wakeup == nil {
		return nil
	}
	return []func(context.Context) error{s.Wakeup.Run}
}

// sideDoor is one of the listeners that a configuration may add.
type sideDoor struct {
	net.Listener // nil: not configured
	url          string
	certs        *certs // nil: no TLS
}

func openSide(ctx context.Context, addr, key string, c configs.TLS) (d sideDoor, err error) {
	if addr == "" {
		return d, nil
	}
	if d.Listener, err = listenFor(ctx, addr, "choose another "+key+".listen"); err != nil {
		return sideDoor{}, err
	}
	d.url = urlOf(d.Listener, c)
	if d.certs, err = newCerts(c); err != nil {
		d.Listener.Close()
		return sideDoor{}, err
	}
	d.Listener = d.certs.secure(d.Listener)
	return d, nil
}

// sideReadTimeout bounds a whole request at a side door: all are small.
const sideReadTimeout = 20 * time.Second

// sideHTTP answers at a side door.
func sideHTTP(h http.Handler, log *slog.Logger) *http.Server {
	s := newHTTP(h, log)
	s.ReadTimeout = sideReadTimeout
	s.WriteTimeout = sideReadTimeout
	return s
}
