package serve

import (
	"context"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/session"
)

// Core is what both roles are built around.
type Core struct {
	Hub   *hub.Hub
	Kicks *kickdrivers.Dispatcher
}

// Core makes the hub over the node's store, and the kicks it causes. delivered
// is rung after acks that an upstream may want to know of; nil on a server.
func (n *Node) Core(delivered func()) (Core, error) {
	entries, err := kickdrivers.Decode(n.cfg.Kicks)
	if err != nil {
		return Core{}, err
	}
	var c Core
	c.Kicks, err = kickdrivers.New(kickdrivers.Options{
		Entries: entries,
		Routes:  n.Store.Routes,
		Gone:    n.routeGone,
		// The hub is there before anything is due.
		StillDue: func(h edition.Holder) bool { return c.Hub.StillDue(h) },
		Log:      n.Log,
		Metrics:  n.Metrics,
	})
	if err != nil {
		return Core{}, err
	}
	c.Hub = hub.New(hub.Options{
		Store:     n.Store,
		Kick:      c.Kicks,
		Grace:     n.cfg.Hub.Grace,
		Delivered: delivered,
		Log:       n.Log,
		Metrics:   n.Metrics,
	})
	return c, nil
}

// routeGone notes that a driver calls a route gone, unless the device has told
// another meanwhile.
func (n *Node) routeGone(h edition.Holder, r edition.Route) {
	err := n.Store.ChangeRoutes(context.Background(), h, func(old edition.Routes) edition.Routes {
		rs, _ := old.Gone(r)
		return rs
	})
	if err != nil {
		n.Log.Warn("cannot note that a route is gone", "uaid", h.UAID, "driver", r.Driver, "err", err)
	}
}

// Sessions makes the device door.
func (n *Node) Sessions(c Core, r edition.Registrar, relays []configs.Peer) *session.Server {
	l := n.cfg.Session
	return session.New(session.Options{
		Hub:       c.Hub,
		Store:     n.Store,
		Registrar: r,
		Relays:    sessionRelays(relays),
		CheckKick: c.Kicks.Check,
		Limits: session.Limits{
			Agents:        l.UAIDs,
			Rate:          orOff(l.MessageRate),
			Burst:         l.MessageBurst,
			RegisterRate:  orOff(l.RegisterRate),
			RegisterBurst: l.RegisterBurst,
			Hello:         l.HelloTimeout,
			Ping:          l.Ping,
			AckTimeout:    l.AckTimeout,
			AckTimeoutMax: l.AckTimeoutMax,
			Write:         l.WriteTimeout,
			Window:        l.RelayWindow,
		},
		Log:     n.Log,
		Metrics: n.Metrics,
	})
}

// orOff turns the configuration's "0: no limit" into the session's "negative: off".
func orOff(rate float64) float64 {
	if rate == 0 {
		return -1
	}
	return rate
}

func sessionRelays(peers []configs.Peer) []session.Relay {
	out := make([]session.Relay, len(peers))
	for i, p := range peers {
		out[i] = session.Relay{Name: p.Name, Token: p.Token.Reveal(), CertName: p.CertName, Custody: p.Custody}
	}
	return out
}
