package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/dialect"
	"github.com/edition-push/edition/dialect/mozpush"
	"github.com/edition-push/edition/dialect/simplepush"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/session"
	"github.com/edition-push/edition/wire"
)

// Core is what both roles are built around.
type Core struct {
	Hub   *hub.Hub
	Kicks *kickdrivers.Dispatcher

	// What drivers reach the relays that are connected here through: there
	// with Sessions.
	relays *atomic.Pointer[session.Server]
}

// Core makes the hub over the node's store, and the kicks it causes. delivered
// is rung after acks that an upstream may want to know of; nil on a server.
func (n *Node) Core(delivered func()) (Core, error) {
	entries, err := kickdrivers.Decode(n.cfg.Kicks)
	if err != nil {
		return Core{}, err
	}
	c := Core{relays: new(atomic.Pointer[session.Server])}
	c.Kicks, err = kickdrivers.New(kickdrivers.Options{
		Entries: entries,
		Routes:  n.Store.Routes,
		Gone:    n.routeGone,
		// The hub is there before anything is due.
		StillDue: func(h edition.Holder) bool { return c.Hub.StillDue(h) },
		Through:  c.through,
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

// through has a relay that is connected here wake a device.
func (c Core) through(ctx context.Context, relay string, request json.RawMessage) (json.RawMessage, error) {
	sessions := c.relays.Load()
	if sessions == nil {
		return nil, fmt.Errorf("%w: no relay is connected yet", edition.ErrUnavailable)
	}
	var req wire.WakeRequest
	if err := json.Unmarshal(request, &req); err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrMalformed, err)
	}
	res, err := sessions.Wake(ctx, relay, req)
	if err != nil {
		return nil, err
	}
	return json.Marshal(res)
}

// Below reports whether a relay with a store of this ID is connected here.
func (c Core) Below(store string) bool {
	sessions := c.relays.Load()
	return sessions != nil && sessions.Below(store)
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
	var way func() []string
	if up, ok := r.(interface{ Way() []string }); ok {
		way = up.Way
	}
	s := session.New(session.Options{
		Hub:       c.Hub,
		Store:     n.Store,
		Registrar: r,
		Relays:    sessionRelays(relays),
		CheckKick: c.Kicks.Check,
		Way:       way,
		Challenge: c.Kicks.Challenge,
		Wakeable:  c.Kicks.Wakeable,
		Talk:      dialects(n.cfg.Dialects),
		Limits: session.Limits{
			Agents:        l.UAIDs,
			Rate:          orOff(l.MessageRate),
			Burst:         l.MessageBurst,
			RegisterRate:  orOff(l.RegisterRate),
			RegisterBurst: l.RegisterBurst,
			Hello:         l.HelloTimeout,
			Ping:          l.Ping,
			IdleClose:     l.IdleClose,
			AckTimeout:    l.AckTimeout,
			AckTimeoutMax: l.AckTimeoutMax,
			Write:         l.WriteTimeout,
			Window:        l.RelayWindow,
		},
		Log:     n.Log,
		Metrics: n.Metrics,
	})
	c.relays.Store(s)
	return s
}

// dialects makes what translates the other protocols.
func dialects(c configs.Dialects) func(*session.Device) session.Talk {
	return dialect.New(dialect.Options{
		PingMin: c.PingMin,
		SimplePush: simplepush.Options{
			MaxChannels: c.MaxChannels, Last: c.Versions == configs.VersionsLast, Lax: c.LaxIDs, Carrier: c.Carrier,
		},
		Mozilla: mozpush.Options{Backlog: c.MsgLimit},
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
		out[i] = session.Relay{Name: p.Name, Tokens: p.Token.Tokens(), CertName: p.CertName, Custody: p.Custody}
	}
	return out
}
