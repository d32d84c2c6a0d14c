// Package fcm is a kick driver that wakes apps through Firebase Cloud
// Messaging: on Android, and wherever else Google's messages go.
//
// It promises that a message says nothing but that there is something to
// fetch; that no more connections and requests are open than configured; and
// that no error tells a registration token or a key. It does not know whether
// Google hands a message on.
package fcm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Driver sends messages to one project's apps. Make one with New.
type Driver struct {
	// Fixed after construction.
	config Config
	url    string // of messages:send
	tokens *tokens
	client *http.Client
	slots  outbound.Slots // for requests under way
}

var _ driver.Driver = (*Driver)(nil)

// New returns the driver. The faults of its configuration are
// edition.ErrConfig. It does not connect: the first kick does.
func New(c Config, _ driver.Env) (*Driver, error) {
	if faults := c.Faults(); len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	a, err := readAccount(c.ServiceAccount)
	if err != nil {
		return nil, fmt.Errorf("%w: service_account: %w", edition.ErrConfig, err)
	}
	client, err := outbound.New(outbound.Options{TLS: c.TLS, Timeout: c.Timeout, Conns: c.Connections})
	if err != nil {
		return nil, fmt.Errorf("%w: tls: %w", edition.ErrConfig, err)
	}
	project := c.Project
	if project == "" {
		project = a.ProjectID
	}
	return &Driver{
		config: c,
		url:    strings.TrimRight(c.Host, "/") + "/v1/projects/" + project + "/messages:send",
		tokens: newTokens(a, client, c.Timeout),
		client: client,
		slots:  make(outbound.Slots, c.ParallelRequests),
	}, nil
}

// target is what a device registers and what is stored.
type target struct {
	Token string `json:"token"`
}

// maxToken is the greatest length of a registration token. Google does not say
// how long one may become; they have had about 160 characters.
const maxToken = 1024

var validToken = regexp.MustCompile(`^[A-Za-z0-9_:-]{20,}$`)

func parse(raw json.RawMessage) (target, error) {
	var t target
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, fmt.Errorf(`%w: the target is not an object such as {"token":"cXy…:APA91b…"}`, edition.ErrMalformed)
	}
	if len(t.Token) > maxToken || !validToken.MatchString(t.Token) {
		return t, fmt.Errorf("%w: token is not 20 to %d of A-Z a-z 0-9 _ : -", edition.ErrMalformed, maxToken)
	}
	return t, nil
}

// Check accepts {"token":"cXy…:APA91b…"}: the registration token.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// Aim is the registration token.
func (d *Driver) Aim(raw json.RawMessage) string {
	t, err := parse(raw)
	if err != nil {
		return ""
	}
	return t.Token
}

// stored reads a target that Check has returned.
func stored(raw json.RawMessage) (target, error) {
	t, err := parse(raw)
	if err != nil {
		return t, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	return t, nil
}

// request is the body of messages:send, message what it sends. (Firebase,
// "Method: projects.messages.send".)
type request struct {
	Message message `json:"message"`
}

type message struct {
	Token   string            `json:"token"`
	Data    map[string]string `json:"data"`
	Android android           `json:"android"`
}

type android struct {
	Priority    string `json:"priority"`
	TTL         string `json:"ttl"`
	CollapseKey string `json:"collapse_key,omitempty"`
}

// body is a message without anything to show: it wakes the app, which then
// connects. A code to be repeated is one more datum.
func (d *Driver) body(t target, confirm string) ([]byte, error) {
	data := map[string]string{"edition": "kick"}
	if confirm != "" {
		data["confirm"] = confirm
	}
	return json.Marshal(request{message{
		Token: t.Token,
		Data:  data,
		Android: android{
			Priority:    "HIGH",
			TTL:         fmt.Sprintf("%ds", int64(d.config.TTL.Seconds())),
			CollapseKey: d.config.CollapseKey,
		},
	}})
}

// Show writes the request that Kick would make, with the access token left
// out.
func (d *Driver) Show(k driver.Kick) (string, error) {
	t, err := stored(k.Target)
	if err != nil {
		return "", err
	}
	body, err := d.body(t, k.Confirm)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("POST %s\nauthorization: Bearer <secret>\ncontent-type: application/json\n\n%s\n", d.url, body), nil
}

// Kick sends one message to each target, as many at once as there are slots.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	d.slots.Each(ctx, len(kicks), func(i int) {
		t, err := stored(kicks[i].Target)
		if err == nil {
			err = d.send(ctx, t, kicks[i].Confirm)
		}
		errs[i] = err
	})
}

var errNoAnswer = errors.New("no answer in time")

// send makes one attempt. It takes a second request, never a third, when the
// connection was lost under the first or the access token was refused.
func (d *Driver) send(ctx context.Context, t target, confirm string) error {
	body, err := d.body(t, confirm)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, d.config.Timeout, errNoAnswer)
	defer cancel()
	refused := ""
	for again := true; ; again = false {
		bearer, err := d.tokens.get(limited, refused)
		var a *outbound.Answer
		if err != nil {
			err = fmt.Errorf("access token: %w", err)
		} else {
			a, err = d.post(limited, bearer, body)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && limited.Err() != nil:
			return fmt.Errorf("%w: %w", edition.ErrUnavailable, errNoAnswer)
		case err != nil:
			if bearer == "" || errors.Is(err, outbound.ErrConnect) || !again {
				return unavailable(err)
			}
		case a.Status == http.StatusUnauthorized && again && read(a).code != codeThirdParty:
			refused = bearer
		default:
			return read(a).err()
		}
	}
}

// unavailable keeps what an error says about when to come back.
func unavailable(err error) error {
	whole := fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
	if r, ok := errors.AsType[*edition.RetryError](err); ok {
		return edition.RetryAfter(whole, r.After)
	}
	return whole
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 10

func (d *Driver) post(ctx context.Context, bearer string, body []byte) (*outbound.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "edition")
	return outbound.Do(d.client, req, maxAnswer)
}

// Close closes the connections and ends a request for an access token.
func (d *Driver) Close() error {
	d.tokens.end()
	d.client.CloseIdleConnections()
	return nil
}
