// Package wakeup is the kick driver that asks a mobile carrier's wake-up
// platform to wake a device inside one of the carrier's networks, where no
// server outside can send to it.
//
// It promises to ask only for addresses inside the networks that the platform
// has listed and the operator has not excluded, and one request for each kick.
// It does not know whether a device woke up: the platform answers when it has
// taken a request. README.md has the configuration.
//
// The API is that of Telefónica's open-sourced platform: the routers wakeup
// and netinfo of github.com/telefonicaid/wakeup_platform_global.
package wakeup

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Driver asks a platform. Make one with New.
type Driver struct {
	// Fixed after construction.
	url       string
	client    *http.Client
	header    http.Header // of every request
	own       []network   // the operator's list
	low, high uint16
	timeout   time.Duration
	log       *slog.Logger
	places    chan struct{} // one for each request under way

	told *poller // nil: the platform is never asked for its networks
}

// New returns the driver, which asks the platform for its networks in the
// background from now on. Faults of the configuration are edition.ErrConfig; a
// platform that does not answer is none.
func New(c Config, env driver.Env) (*Driver, error) {
	made, faults := c.compile()
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	client, err := outbound.New(outbound.Options{TLS: c.TLS, Timeout: c.Timeout, Conns: c.ParallelRequests + 1})
	if err != nil {
		return nil, fmt.Errorf("%w: tls.%w", edition.ErrConfig, err)
	}
	d := &Driver{
		url: made.url, client: client, header: make(http.Header), own: made.networks, low: made.low, high: made.high,
		timeout: c.Timeout, log: env.Logger(), places: make(chan struct{}, c.ParallelRequests),
	}
	if c.RealIP != "" {
		d.header.Set("X-Real-IP", c.RealIP)
		d.header.Set("X-Forwarded-For", c.RealIP)
	}
	if c.ClientDN != "" {
		d.header.Set("X-Client-Cert-Verified", "SUCCESS")
		d.header.Set("X-Client-Cert-DN", c.ClientDN)
	}
	if c.Interval > 0 {
		d.told = newPoller(d, c.Interval)
	}
	return d, nil
}

// known returns the networks that devices may be in. Until the platform has
// been asked for the first time it waits, but not where the operator's list
// will do meanwhile.
func (d *Driver) known(ctx context.Context) (table, error) {
	if d.told == nil {
		return d.own, nil
	}
	told := d.told.list.Load()
	if told == nil && len(d.own) == 0 {
		select {
		case <-d.told.tried:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		told = d.told.list.Load()
	}
	switch {
	case told != nil:
		return *told, nil
	case len(d.own) > 0:
		return d.own, nil
	}
	return nil, fmt.Errorf("%w: the platform has not told its networks yet", edition.ErrUnavailable)
}

// Check accepts {"ip":"10.1.2.3","port":4000,"netid":"lab-1"}, or with "mcc"
// and "mnc" instead of the netid, and with "proto":"tcp" for a connection
// instead of a datagram. The address must lie in that network. While the
// platform has not told its networks, and the operator has listed none, the
// error is edition.ErrUnavailable.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := parse(raw)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	defer cancel()
	known, err := d.known(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: the platform does not answer", edition.ErrUnavailable)
	}
	if err != nil {
		return nil, err
	}
	n, err := d.allow(known, &t)
	if err != nil {
		return nil, err
	}
	if t.NetID = n.netid; t.NetID != "" {
		t.MCC, t.MNC = "", ""
	} else {
		t.MCC, t.MNC, _ = strings.Cut(n.codes, "-")
	}
	return json.Marshal(t)
}

// Aim is the address, the port and the network.
func (d *Driver) Aim(raw json.RawMessage) string {
	t, err := parse(raw)
	if err != nil {
		return ""
	}
	return t.aim()
}

// stored reads a target that Check has returned once.
func (d *Driver) stored(ctx context.Context, raw json.RawMessage) (target, *network, error) {
	t, err := parse(raw)
	if err != nil {
		return t, nil, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	known, err := d.known(ctx)
	if err != nil {
		return t, nil, err
	}
	n, err := d.allow(known, &t)
	return t, n, err
}

// Show returns the request but for its tracking id.
func (d *Driver) Show(k driver.Kick) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	defer cancel()
	t, n, err := d.stored(ctx, k.Target)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "POST %s%s\nContent-Type: %s\n", d.url, pathWakeup, formType)
	if err := d.header.Write(&out); err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "\n%s\n", t.form(n, k.Confirm).Encode())
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), nil
}

// Kick makes a request for each kick, as many at once as there are places.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	var wg sync.WaitGroup
	for i, k := range kicks {
		t, n, err := d.stored(ctx, k.Target)
		if err == nil && n.offline {
			err = fmt.Errorf("the network %s is offline, says the platform", n.name())
		}
		if err != nil {
			errs[i] = err
			continue
		}
		select {
		case d.places <- struct{}{}:
		case <-ctx.Done():
			errs[i] = context.Cause(ctx)
			continue
		}
		wg.Go(func() {
			errs[i] = d.ask(ctx, t, n, k.Confirm)
			<-d.places
		})
	}
	wg.Wait()
}

// Paths of the API, and what is sent there.
const (
	pathWakeup  = "/wakeup/v1"
	pathNetInfo = "/netinfo/v1"
	formType    = "application/x-www-form-urlencoded"
	maxAnswer   = 1 << 10 // bytes that are read of an answer
)

// request returns one with a name of its own, by which the platform's logs and
// ours can be brought together.
func (d *Driver) request(ctx context.Context, method, path, body string) (req *http.Request, tracking string, err error) {
	req, err = http.NewRequestWithContext(ctx, method, d.url+path, strings.NewReader(body))
	if err != nil {
		return nil, "", errors.New("the platform's URL cannot be used")
	}
	req.Header = d.header.Clone()
	tracking = rand.Text()
	req.Header.Set("X-Tracking-ID", tracking)
	return req, tracking, nil
}

// ask makes one attempt.
func (d *Driver) ask(ctx context.Context, t target, n *network, confirm string) error {
	req, tracking, err := d.request(ctx, http.MethodPost, pathWakeup, t.form(n, confirm).Encode())
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", formType)
	a, err := outbound.Do(d.client, req, maxAnswer)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.log.Debug("the wake-up platform cannot be asked", "tracking_id", tracking, "err", err)
		return fmt.Errorf("%w: the platform: %w", edition.ErrUnavailable, err)
	}
	d.log.Debug("asked the wake-up platform", "tracking_id", tracking, "netid", n.name(), "status", a.Status)
	return outcome(a, n)
}

// Close ends the search for networks.
func (d *Driver) Close() error {
	if d.told != nil {
		d.told.close()
	}
	d.client.CloseIdleConnections()
	return nil
}
