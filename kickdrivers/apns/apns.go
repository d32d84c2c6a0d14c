// Package apns is a kick driver that wakes apps on Apple's devices through the
// Apple Push Notification service.
//
// It promises that a push goes only to the apps that the operator has listed
// and says nothing but that there is something to fetch; that no more
// connections and requests are open than configured; and that no error tells a
// device token. It does not know whether Apple hands a push on: background
// pushes are a favour that Apple grants now and then.
package apns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Driver pushes to Apple's devices. Make one with New.
type Driver struct {
	// Fixed after construction.
	config Config
	origin string // https://host
	wake   []byte // the body of a push without a code
	token  *providerToken
	pool   *pool
	slots  slots
}

var _ driver.Driver = (*Driver)(nil)

// expiresSoon is when a certificate is worth a warning.
const expiresSoon = 30 * 24 * time.Hour

// New returns the driver. The faults of its configuration are
// edition.ErrConfig. It does not connect: the first push does.
func New(c Config, env driver.Env) (*Driver, error) {
	if faults := c.Faults(); len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	d := &Driver{config: c, wake: c.payload(""), slots: make(slots, c.ParallelRequests)}
	var err error
	if d.origin, err = c.origin(); err != nil {
		return nil, fmt.Errorf("%w: host: %w", edition.ErrConfig, err)
	}
	if !c.TokenKey.IsZero() {
		if d.token, err = newProviderToken(c.TokenKey, c.KeyID, c.TeamID); err != nil {
			return nil, fmt.Errorf("%w: token_key: %w", edition.ErrConfig, err)
		}
	} else if cert, err := readCertificate(c.TLS.CertFile); err == nil && time.Until(cert.until) < expiresSoon {
		env.Logger().Warn("the push certificate expires soon", "cert_file", c.TLS.CertFile, "not_after", cert.until.UTC())
	}
	conf, err := c.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("%w: tls.%w", edition.ErrConfig, err)
	}
	if d.pool, err = newPool(c.Connections, d.origin, conf, c.Timeout); err != nil {
		return nil, fmt.Errorf("%w: host: %w", edition.ErrConfig, err)
	}
	return d, nil
}

// target is what a device registers and what is stored.
type target struct {
	Token string `json:"token"`
	Topic string `json:"topic"`
}

// Bounds of a device token in hexadecimal digits. Apple's have had 32 bytes so
// far and may grow to 100.
const (
	minToken = 64
	maxToken = 200
)

// parse reads a target and puts its token into lower case, so that a device is
// one target however it writes itself.
func parse(raw json.RawMessage) (target, error) {
	var t target
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, fmt.Errorf(`%w: the target is not an object such as {"token":"0af1…","topic":"com.example.app"}`, edition.ErrMalformed)
	}
	t.Token = strings.ToLower(t.Token)
	if !isToken([]byte(t.Token)) {
		return t, fmt.Errorf("%w: token is not %d to %d hexadecimal digits", edition.ErrMalformed, minToken, maxToken)
	}
	return t, nil
}

// Check accepts {"token":"0af1…","topic":"com.example.app"}: the device token
// in hexadecimal, and one of the topics that are configured, by default the
// first.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if t.Topic == "" {
		t.Topic = d.config.Topics[0]
	}
	if err := d.allow(t); err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// allow returns ErrForbidden unless the topic is one of those configured.
func (d *Driver) allow(t target) error {
	if !slices.Contains(d.config.Topics, t.Topic) {
		return fmt.Errorf("%w: topic %.80q is not one of those that may be kicked", edition.ErrForbidden, t.Topic)
	}
	return nil
}

// Aim is the device token, whatever the topic.
func (d *Driver) Aim(raw json.RawMessage) string {
	if t, ok := parseStored(raw); ok {
		return t.Token
	}
	t, err := parse(raw)
	if err != nil {
		return ""
	}
	return t.Token
}

// stored reads a target that Check has returned under some configuration.
func (d *Driver) stored(raw json.RawMessage) (target, error) {
	t, ok := parseStored(raw)
	if !ok {
		var err error
		if t, err = parse(raw); err != nil {
			return t, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
		}
	}
	return t, d.allow(t)
}

// parseStored reads what Check writes, to the letter, in a tenth of the time
// that JSON takes. It is not ok for anything else.
func parseStored(raw []byte) (t target, ok bool) {
	rest, begins := bytes.CutPrefix(raw, []byte(`{"token":"`))
	token, rest, follows := bytes.Cut(rest, []byte(`","topic":"`))
	topic, ends := bytes.CutSuffix(rest, []byte(`"}`))
	if !begins || !follows || !ends || !isToken(token) || bytes.ContainsFunc(topic, notInTopic) {
		return target{}, false
	}
	return target{Token: string(token), Topic: string(topic)}, true
}

func notInTopic(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-':
		return false
	}
	return true
}

// isToken reports whether b is a device token in lower case.
func isToken(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(b) >= minToken && len(b) <= maxToken && len(b)%2 == 0
}

// Show writes the request that Kick would make, with the provider's token
// left out.
func (d *Driver) Show(k driver.Kick) (string, error) {
	t, err := d.stored(k.Target)
	if err != nil {
		return "", err
	}
	h := d.header(t.Topic)
	if d.token != nil {
		h = proven(h, "<secret>").header
	}
	if d.config.Expiration > 0 {
		h["apns-expiration"] = []string{fmt.Sprintf("<now + %v>", d.config.Expiration)}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/2\n", d.url(t))
	for _, key := range slices.Sorted(maps.Keys(h)) {
		fmt.Fprintf(&b, "%s: %s\n", key, h[key][0])
	}
	fmt.Fprintf(&b, "\n%s\n", d.body(k.Confirm))
	return b.String(), nil
}

// Kick makes one push for each target, as many at once as there are slots.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	bearer, err := d.bearer()
	heads := make(map[string]head, 1) // by topic
	targets := make([]target, len(kicks))
	for i, k := range kicks {
		if targets[i], errs[i] = d.stored(k.Target); errs[i] != nil {
			continue
		}
		errs[i] = err
		if topic := targets[i].Topic; heads[topic].header == nil {
			heads[topic] = proven(d.header(topic), bearer)
		}
	}
	d.slots.each(ctx, len(kicks), func(i int) {
		if t := targets[i]; errs[i] == nil {
			errs[i] = d.push(ctx, d.url(t), heads[t.Topic], d.body(kicks[i].Confirm))
		}
	})
}

// Close closes the connections.
func (d *Driver) Close() error {
	return d.pool.closeAll()
}
