package relay

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

const (
	callTimeout = 10 * time.Second // one request to upstream
	retryAfter  = 5 * time.Second  // what a device hears when upstream is away
	maxEndpoint = 1 << 10          // bytes
	maxBinding  = 64               // binds at once, so that one commit serves many
)

var _ edition.Registrar = (*Relay)(nil)

// Register passes a registration up, with the proof and never the secret or the
// route, keeps it here, and returns upstream's endpoint. The upstream is the one
// that is named (edition.ErrNotFound when there is none of that name), else the
// device's own, else the first; a device has one upstream (edition.ErrConflict).
// While upstream is away it is edition.ErrUnavailable, at once.
func (r *Relay) Register(ctx context.Context, reg edition.Registration) (string, error) {
	if err := r.store.Err(); err != nil {
		return "", err
	}
	if err := r.holds.acquire(ctx, reg.UAID); err != nil {
		return "", fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
	}
	defer r.holds.release(reg.UAID)
	u, err := r.choose(reg.UAID, reg.Upstream)
	if err != nil {
		return "", err
	}
	endpoint, err := u.register(ctx, reg)
	if err != nil {
		u.m.registrations.WithLabelValues("failed").Inc()
		return "", u.away(err)
	}
	reg.Upstream = u.name
	if err := r.store.Register(ctx, reg); err != nil {
		u.m.registrations.WithLabelValues("not_kept").Inc()
		return "", err
	}
	u.m.registrations.WithLabelValues("registered").Inc()
	return endpoint, nil
}

// choose returns the upstream for a device.
func (r *Relay) choose(uaid edition.UAID, named string) (*upstream, error) {
	agent, err := r.store.Agent(uaid)
	if err != nil && !errors.Is(err, edition.ErrNotFound) {
		return nil, err
	}
	own := r.named(agent.Upstream) // nil too when it has left the configuration
	switch {
	case named == "" && own != nil:
		return own, nil
	case named == "":
		return r.ups[0], nil
	case own != nil && own.name != named:
		return nil, fmt.Errorf("%w: the device is registered through upstream %q", edition.ErrConflict, own.name)
	}
	if u := r.named(named); u != nil {
		return u, nil
	}
	return nil, fmt.Errorf("%w: no upstream is called %.64q here", edition.ErrNotFound, named)
}

func (u *upstream) register(ctx context.Context, reg edition.Registration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	endpoint, err := u.client.PassUp(ctx, reg)
	if err != nil {
		return "", err
	}
	if e, err := url.Parse(endpoint); err != nil || len(endpoint) > maxEndpoint || e.Host == "" || e.User != nil ||
		e.Scheme != "https" && e.Scheme != "http" {
		return "", fmt.Errorf("%w: upstream answered with what is no endpoint", edition.ErrUnavailable)
	}
	return endpoint, nil
}

// away makes an error of upstream one for a device: when upstream cannot be
// asked it says when to try again.
func (u *upstream) away(err error) error {
	err = fmt.Errorf("upstream %s: %w", u.name, err)
	if _, said := errors.AsType[*edition.RetryError](err); !said && errors.Is(err, edition.ErrUnavailable) {
		return edition.RetryAfter(err, retryAfter)
	}
	return err
}

// Unregister withdraws an endpoint upstream, then here.
func (r *Relay) Unregister(ctx context.Context, k edition.Key) error {
	if err := r.holds.acquire(ctx, k.UAID); err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
	}
	defer r.holds.release(k.UAID)
	agent, err := r.store.Agent(k.UAID)
	if errors.Is(err, edition.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// An upstream that has left the configuration needs not be told.
	if u := r.named(agent.Upstream); u != nil {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err := u.client.Unregister(call, wire.Agent{UAID: k.UAID, Proof: &agent.Proof}, k.AppID)
		if err != nil && !forgotten(err) {
			return u.away(err)
		}
	}
	return r.store.Unregister(ctx, k)
}

// forgotten reports whether an error is upstream's word that it does not know
// the device, or not with this proof: then nothing is left to withdraw there.
func forgotten(err error) bool {
	return errors.Is(err, edition.ErrNotFound) || errors.Is(err, edition.ErrGone) || errors.Is(err, edition.ErrUnauthorized)
}

// Claim asks each upstream in turn for devices that have come from elsewhere,
// or from before this relay lost its store. What an upstream proves is bound to
// owner here. When some upstream could not be asked and devices are left, the
// error says so beside those that were proven.
func (r *Relay) Claim(ctx context.Context, who []edition.Credential, owner edition.Owner) ([]edition.UAID, error) {
	who = slices.Clone(who)
	slices.SortStableFunc(who, func(a, b edition.Credential) int { return a.UAID.Compare(b.UAID) })
	who = slices.CompactFunc(who, func(a, b edition.Credential) bool { return a.UAID == b.UAID })
	for i, c := range who {
		if err := r.holds.acquire(ctx, c.UAID); err != nil {
			for _, c := range who[:i] {
				r.holds.release(c.UAID)
			}
			return nil, fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
		}
	}
	defer func(all []edition.Credential) {
		for _, c := range all {
			r.holds.release(c.UAID)
		}
	}(slices.Clone(who))

	var all []edition.UAID
	var away error
	for _, u := range r.ups {
		if len(who) == 0 {
			break
		}
		proven, err := u.claim(ctx, who)
		if err != nil {
			away = u.away(err)
		}
		if err := r.bind(ctx, who, proven, owner, u.name); err != nil {
			return all, err
		}
		for uaid := range proven {
			all = append(all, uaid)
		}
		who = slices.DeleteFunc(who, func(c edition.Credential) bool { return proven[c.UAID] })
	}
	if len(who) == 0 {
		return all, nil
	}
	return all, away
}

// bind keeps what an upstream has proven.
func (r *Relay) bind(ctx context.Context, who []edition.Credential, proven map[edition.UAID]bool, owner edition.Owner, upstream string) error {
	var g errgroup.Group
	g.SetLimit(maxBinding)
	for _, c := range who {
		if proven[c.UAID] {
			g.Go(func() error {
				return r.store.Bind(ctx, edition.Agent{UAID: c.UAID, Proof: c.Proof, Owner: owner, Upstream: upstream})
			})
		}
	}
	return g.Wait()
}

// Present tells the upstreams of known devices, soon and in batches, that the
// devices have shown up here: they may have been elsewhere meanwhile.
func (r *Relay) Present(who []edition.Agent) {
	for _, a := range who {
		if u := r.named(a.Upstream); u != nil {
			at := a.Seen
			if at.IsZero() {
				at = time.Now()
			}
			u.present(a.UAID, at.UnixMilli())
		}
	}
}
