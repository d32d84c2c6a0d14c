// Package webpush is the kick driver for browsers and for apps that have a Web
// Push endpoint, such as UnifiedPush's: it posts an empty or an encrypted
// message to the endpoint that a device has named (RFC 8030), signed with the
// operator's VAPID key (RFC 8292).
//
// It promises to send only to hosts that the operator has listed, over
// connections to addresses that are allowed, and to say nothing in a message
// but that there is something, and the code that confirms a route. It follows
// no redirects. README.md has the configuration.
package webpush

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Driver posts to push services. Make one with New.
type Driver struct {
	// Fixed after construction.
	guard  *outbound.Guard
	client *http.Client
	signer *signer
	slots  outbound.Slots
	conf   Config
}

var _ driver.Driver = (*Driver)(nil)

// New returns the driver. It connects to nobody yet. Faults of the
// configuration are edition.ErrConfig.
func New(c Config, _ driver.Env) (*Driver, error) {
	if faults := c.Faults(); len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	guard, _ := outbound.NewGuard(c.Hosts, c.Networks)
	key, err := c.key()
	if err != nil {
		return nil, fmt.Errorf("%w: vapid_key: %w", edition.ErrConfig, err)
	}
	client, err := outbound.New(outbound.Options{TLS: c.TLS, Timeout: c.Timeout, Conns: c.Connections, Guard: guard})
	if err != nil {
		return nil, fmt.Errorf("%w: tls: %w", edition.ErrConfig, err)
	}
	return &Driver{
		guard: guard, client: client, conf: c,
		signer: newSigner(key, c.Subject),
		slots:  make(outbound.Slots, c.ParallelRequests),
	}, nil
}

// Check accepts {"endpoint":"https://…","keys":{"p256dh":"…","auth":"…"}} where
// the endpoint's host is listed. Without keys the device is kicked without a
// message.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	s, err := decode(raw)
	if err != nil {
		return nil, err
	}
	t, err := parse(s, d.guard)
	if err != nil {
		return nil, err
	}
	return t.stored()
}

// Aim is the endpoint. The keys are not part of it: a device may make them up.
func (d *Driver) Aim(raw json.RawMessage) string {
	s, err := decode(raw)
	if err != nil {
		return ""
	}
	return s.Endpoint
}

// Show returns the request with its message as it is before encryption.
func (d *Driver) Show(k driver.Kick) (string, error) {
	req, plaintext, err := d.request(context.Background(), k)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s\n", req.URL)
	req.Header.Set("Authorization", "vapid t=<signed token>, k="+d.signer.key.public)
	if err := req.Header.Write(&b); err != nil {
		return "", err
	}
	if plaintext == nil {
		b.WriteString("\n(no message)\n")
	} else {
		fmt.Fprintf(&b, "\n(encrypted, %d bytes) %s\n", req.ContentLength, plaintext)
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n"), nil
}

// Kick posts to each target, as many at once as the configuration allows.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	d.slots.Each(ctx, len(kicks), func(i int) { errs[i] = d.kick(ctx, kicks[i]) })
}

func (d *Driver) kick(ctx context.Context, k driver.Kick) error {
	req, _, err := d.request(ctx, k)
	if err != nil {
		return err
	}
	answer, err := outbound.Do(d.client, req, maxAnswer)
	if errors.Is(err, outbound.ErrConnect) && d.guard.Single() {
		return fmt.Errorf("%w: the push service: %w", edition.ErrUnavailable, err)
	}
	if err != nil {
		return fmt.Errorf("the push service at %s: %w", req.URL.Hostname(), err)
	}
	return outcome(answer)
}

// maxAnswer is how much of an answer's body is read, in bytes: so that its
// connection can be used again. What it says is not used.
const maxAnswer = 4 << 10

// message is what a kick says when it can say something.
type message struct {
	Type    string `json:"type"`              // "kick"
	Confirm string `json:"confirm,omitempty"` // to be repeated by the device
}

// request makes the request for one kick, and returns its message before
// encryption, nil for none.
func (d *Driver) request(ctx context.Context, k driver.Kick) (*http.Request, []byte, error) {
	s, err := decode(k.Target)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	t, err := parse(s, d.guard)
	if errors.Is(err, edition.ErrMalformed) {
		return nil, nil, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	if err != nil {
		return nil, nil, err
	}
	if k.Confirm != "" && t.ua == nil {
		return nil, nil, fmt.Errorf("%w: a subscription without keys cannot be sent the code that confirms it", edition.ErrForbidden)
	}
	var plaintext, body []byte
	if t.ua != nil {
		if plaintext, err = json.Marshal(message{Type: "kick", Confirm: k.Confirm}); err != nil {
			return nil, nil, err
		}
		if body, err = Encrypt(plaintext, t.ua, t.auth); err != nil {
			return nil, nil, fmt.Errorf("encrypting the message: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the stored target cannot be read", edition.ErrGone)
	}
	authorization, err := d.signer.authorization(t.origin())
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("TTL", strconv.FormatInt(int64(d.conf.TTL.Seconds()), 10))
	req.Header.Set("Urgency", d.conf.Urgency)
	if body != nil {
		req.Header.Set("Content-Encoding", "aes128gcm")
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if d.conf.Topic != "" && k.Confirm == "" { // a code is not to be replaced by a kick
		req.Header.Set("Topic", d.conf.Topic)
	}
	return req, plaintext, nil
}

// outcome is what an answer means (RFC 8030, sections 5 to 8). The path of an
// endpoint is a device's word, so that no answer speaks of the push service as
// a whole.
func outcome(a *outbound.Answer) error {
	wait := outbound.RetryAfter(a.Header)
	switch {
	case a.Status/100 == 2:
		return nil
	case a.Status == http.StatusNotFound || a.Status == http.StatusGone:
		return fmt.Errorf("%w: the push service answered %d", edition.ErrGone, a.Status)
	case a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable && wait > 0:
		return edition.RetryAfter(fmt.Errorf("%w: the push service answered %d", edition.ErrTooMany, a.Status), wait)
	case a.Status/100 == 3:
		return fmt.Errorf("%w: the push service answered %d, and redirects are not followed", edition.ErrForbidden, a.Status)
	case a.Status/100 == 4 && a.Status != http.StatusRequestTimeout:
		return fmt.Errorf("%w: the push service answered %d", edition.ErrForbidden, a.Status)
	}
	return fmt.Errorf("the push service answered %d", a.Status)
}

// Close closes the connections that are kept open.
func (d *Driver) Close() error {
	d.client.CloseIdleConnections()
	return nil
}
