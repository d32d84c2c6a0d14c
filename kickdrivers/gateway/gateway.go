// Package gateway is the kick driver that has another node wake a device: it
// calls that node's gateway, POST /v1/kicks, or hands the request to a relay
// over the relay's own connection. So a server outside can use the drivers of
// a relay inside.
//
// It promises to pass on what the device said about itself and where it said
// so, and the other node's word about what became of the kick. It does not
// judge routes: the other node does that by its own rules, each time.
package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/wire"
)

// Driver asks another node. Make one with New.
type Driver struct {
	// Fixed after construction.
	c       Config
	token   string
	client  *http.Client // nil with a relay
	through func(ctx context.Context, relay string, request json.RawMessage) (json.RawMessage, error)
	log     *slog.Logger
	slots   outbound.Slots
}

// New returns the driver. Faults of the configuration are edition.ErrConfig.
func New(c Config, env driver.Env) (*Driver, error) {
	if faults := c.Faults(); len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	d := &Driver{c: c, through: env.Through, log: env.Logger(), slots: make(outbound.Slots, c.ParallelRequests)}
	if c.Relay != "" {
		return d, nil
	}
	if !c.Token.IsZero() {
		token, err := c.Token.Read()
		if err != nil {
			return nil, fmt.Errorf("%w: token: %w", edition.ErrConfig, err)
		}
		first, _, _ := bytes.Cut(token, []byte("\n")) // the others are for who accepts them
		d.token = string(bytes.TrimSpace(first))
	}
	var err error
	d.client, err = outbound.New(outbound.Options{TLS: c.TLS, Timeout: c.Timeout, Conns: c.ParallelRequests})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, err)
	}
	return d, nil
}

// Check accepts {"route":{"driver":"…",…}}: what the device would register at
// the other node. Which routes that node takes turns out with the first kick.
func (d *Driver) Check(raw json.RawMessage, from netip.Addr, _ int) (json.RawMessage, error) {
	t, r, err := parse(raw)
	if err == nil {
		err = d.allow(r)
	}
	if err != nil {
		return nil, err
	}
	t.From = from.Unmap().WithZone("")
	return json.Marshal(t)
}

func (d *Driver) allow(r route) error {
	if !d.c.allows(r.driver) {
		return fmt.Errorf("%w: route: driver %q of the other node is not one of %q", edition.ErrForbidden, r.driver, d.c.Drivers)
	}
	return nil
}

// Aim is what the other node's driver aims at, as far as that can be told from
// here. That node has its own budgets besides.
func (d *Driver) Aim(raw json.RawMessage) string {
	_, r, err := parse(raw)
	if err != nil {
		return ""
	}
	return r.hits()
}

// request is the body of a kick.
func (d *Driver) request(k driver.Kick) ([]byte, error) {
	t, r, err := parse(k.Target)
	if err != nil {
		return nil, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	if err := d.allow(r); err != nil {
		return nil, err
	}
	return json.Marshal(wire.WakeRequest{Kick: t.Route, From: t.From, Confirm: k.Confirm})
}

// Show returns the request, without the token.
func (d *Driver) Show(k driver.Kick) (string, error) {
	body, err := d.request(k)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if d.c.Relay != "" {
		fmt.Fprintf(&out, "over the connection of relay %s\n", d.c.Relay)
	} else {
		fmt.Fprintf(&out, "POST %s\nContent-Type: application/json\n", d.c.endpoint(wire.PathKicks))
		if d.token != "" {
			out.WriteString("Authorization: Bearer <secret>\n")
		}
	}
	fmt.Fprintf(&out, "\n%s\n", body)
	return out.String(), nil
}

// Kick asks the other node for each kick, and for the outcomes.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	ids := make([]string, len(kicks))
	d.slots.Each(ctx, len(kicks), func(i int) {
		body, err := d.request(kicks[i])
		switch {
		case err != nil:
			errs[i] = err
		case ctx.Err() != nil:
			errs[i] = context.Cause(ctx)
		case d.c.Relay != "":
			errs[i] = d.overRelay(ctx, body)
		default:
			ids[i], errs[i] = d.post(ctx, body)
		}
	})
	if d.c.Relay == "" && d.c.Wait > 0 {
		d.await(ctx, ids, errs)
	}
}

// overRelay makes a kick by way of a relay's connection.
func (d *Driver) overRelay(ctx context.Context, body []byte) error {
	if d.through == nil {
		return fmt.Errorf("%w: no relay can be connected here", edition.ErrUnavailable)
	}
	limited, cancel := context.WithTimeout(ctx, d.c.Timeout)
	defer cancel()
	text, err := d.through(limited, d.c.Relay, body)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case limited.Err() != nil && err != nil:
		return fmt.Errorf("relay %s has said nothing for %v", d.c.Relay, d.c.Timeout)
	case errors.Is(err, edition.ErrNotFound):
		return fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
	case err != nil:
		return err
	}
	var r wire.WakeResult
	if err := json.Unmarshal(text, &r); err != nil || r.Outcome == "" {
		return fmt.Errorf("what relay %s says is no outcome", d.c.Relay)
	}
	return errorOf(r)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 10

// post asks the gateway for a kick and returns the name that it was given.
func (d *Driver) post(ctx context.Context, body []byte) (id string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.c.endpoint(wire.PathKicks), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	a, err := d.do(req)
	if err != nil {
		return "", err
	}
	if a.Status != http.StatusAccepted {
		return "", refusal(a)
	}
	var s wire.WakeState
	if err := json.Unmarshal(a.Body, &s); err != nil || !validID.MatchString(s.ID) {
		return "", fmt.Errorf("%w: what %s answers is not from a gateway", edition.ErrUnavailable, d.c.URL)
	}
	return s.ID, nil
}

// do sends a request with this node's proof. A gateway that cannot be reached
// is ErrUnavailable.
func (d *Driver) do(req *http.Request) (*outbound.Answer, error) {
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	a, err := outbound.Do(d.client, req, maxAnswer)
	if err != nil && req.Context().Err() != nil {
		return nil, context.Cause(req.Context())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the gateway: %w", edition.ErrUnavailable, err)
	}
	return a, nil
}

// Close closes the connections.
func (d *Driver) Close() error {
	if d.client != nil {
		d.client.CloseIdleConnections()
	}
	return nil
}
