package client

import (
	"context"
	"encoding/json"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Hello says that agents are reached by this connection, beyond those of the
// Config, and returns which of them upstream accepted and refused. A relay
// shows each agent's Proof; what it names is not repeated on reconnecting,
// because upstream remembers who is behind a relay. A device's agents are
// remembered here.
func (c *Client) Hello(ctx context.Context, agents []wire.Agent) (accepted, refused []edition.UAID, err error) {
	l, err := c.current()
	if err != nil {
		return nil, nil, err
	}
	for len(agents) > 0 {
		n := min(len(agents), maxAgents)
		a, r, err := l.hello(ctx, agents[:n])
		if err != nil {
			return accepted, refused, err
		}
		accepted, refused = append(accepted, a...), append(refused, r...)
		if c.cfg.Relay == "" {
			c.remember(agents[:n], a)
		}
		agents = agents[n:]
	}
	return accepted, refused, nil
}

// remember adds the accepted agents to those of later hellos.
func (c *Client) remember(agents []wire.Agent, accepted []edition.UAID) {
	yes := make(map[edition.UAID]bool, len(accepted))
	for _, u := range accepted {
		yes[u] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[edition.UAID]bool, len(c.agents))
	all := make([]wire.Agent, 0, len(c.agents)+len(agents))
	for _, a := range c.agents {
		known[a.UAID] = true
		all = append(all, a)
	}
	for _, a := range agents {
		if yes[a.UAID] && !known[a.UAID] {
			all = append(all, a)
		}
	}
	c.agents = all // never changed in place: known hands it out
}

// Register makes or renews an app's registration and returns its endpoint.
// who carries the Secret, or for a relay the Proof. kick may be nil.
func (c *Client) Register(ctx context.Context, who wire.Agent, app edition.AppID, kick json.RawMessage) (string, error) {
	endpoint, _, err := c.register(ctx, who, app, nil, kick)
	return endpoint, err
}

// PassUp is Register for a relay: of a device behind it, with its proof and what
// concerns the endpoint. How the device is woken stays with the relay.
func (c *Client) PassUp(ctx context.Context, r edition.Registration) (string, error) {
	endpoint, _, err := c.registered(ctx, &wire.Message{
		Type: wire.TypeRegister, UAID: &r.UAID, Proof: &r.Proof, AppID: &r.AppID, Key: r.AppKey, Last: r.Last,
	})
	return endpoint, err
}

// register also returns the drivers whose routes wait for a code.
func (c *Client) register(ctx context.Context, who wire.Agent, app edition.AppID, key []byte, kick json.RawMessage) (endpoint string, confirming []string, err error) {
	return c.registered(ctx, &wire.Message{
		Type: wire.TypeRegister, UAID: &who.UAID, Secret: who.Secret, Proof: who.Proof, AppID: &app, Key: key, Kick: kick,
	})
}

func (c *Client) registered(ctx context.Context, m *wire.Message) (endpoint string, confirming []string, err error) {
	a, err := c.call(ctx, m)
	if err != nil {
		return "", nil, err
	}
	if a.Endpoint == "" {
		return "", nil, fault(ReasonProtocol, "upstream answered a registration without an endpoint")
	}
	return a.Endpoint, a.Confirming, nil
}

// Unregister withdraws an app's endpoint. An unknown one is no error.
func (c *Client) Unregister(ctx context.Context, who wire.Agent, app edition.AppID) error {
	_, err := c.call(ctx, &wire.Message{
		Type: wire.TypeUnregister, UAID: &who.UAID, Secret: who.Secret, Proof: who.Proof, AppID: &app,
	})
	return err
}

// Kick tells upstream how to wake a device, or the relay itself when who is
// nil. edition.ErrForbidden says that upstream's operator does not allow it.
func (c *Client) Kick(ctx context.Context, who *wire.Agent, kick json.RawMessage) error {
	_, err := c.kick(ctx, who, &wire.Message{Kick: kick})
	return err
}

// Confirm repeats a code that came in a kick, so that upstream uses that route
// from now on. edition.ErrForbidden says that no route waits for this code.
func (c *Client) Confirm(ctx context.Context, who *wire.Agent, code string) error {
	_, err := c.kick(ctx, who, &wire.Message{Confirm: code})
	return err
}

// kick returns the drivers whose routes wait for a code.
func (c *Client) kick(ctx context.Context, who *wire.Agent, m *wire.Message) (confirming []string, err error) {
	m.Type = wire.TypeKick
	if who != nil {
		m.UAID, m.Secret, m.Proof = &who.UAID, who.Secret, who.Proof
	}
	a, err := c.call(ctx, m)
	if err != nil {
		return nil, err
	}
	return a.Confirming, nil
}

// Woken answers what Config.Wake was called with. An error means that upstream
// will not hear of it.
func (c *Client) Woken(a wire.Woken) error {
	l, err := c.current()
	if err != nil {
		return err
	}
	return l.woken(a)
}

func (c *Client) call(ctx context.Context, m *wire.Message) (*wire.Message, error) {
	l, err := c.current()
	if err != nil {
		return nil, err
	}
	return l.call(ctx, m)
}

// Ack reports that the device has these versions. An error means that upstream
// will send them again.
func (c *Client) Ack(u edition.Update) error { return c.ack(ackDelivered, u) }

// AckStored reports that this relay has synced these versions.
func (c *Client) AckStored(u edition.Update) error { return c.ack(ackStored, u) }

// Refuse reports that these devices never registered at this relay.
func (c *Client) Refuse(u edition.Update) error { return c.ack(ackRefuse, u) }

func (c *Client) ack(kind ackKind, u edition.Update) error {
	if len(u) == 0 {
		return nil
	}
	l, err := c.current()
	if err != nil {
		return err
	}
	for len(u) > 0 {
		n := min(len(u), ackEvents)
		if err := l.ack(kind, u[:n]); err != nil {
			return err
		}
		u = u[n:]
	}
	return nil
}

// Barrier returns nil when upstream has processed everything that was acked
// before the call. To a relay, everything was handed out then that upstream had
// sent before.
func (c *Client) Barrier(ctx context.Context) error {
	l, err := c.current()
	if err != nil {
		return err
	}
	return l.barrier(ctx)
}
