// Package webhook is the kick driver that hands kicks to a program of the
// operator's, by HTTP: a POST to a URL or a Unix socket, signed as Standard
// Webhooks says. So a driver for whatever network can be written in any
// language and run outside of this process.
//
// It promises that each request is signed with all secrets, carries an id and
// a time of its own, and goes to the operator's URL alone, without following
// redirects. What a device wrote about itself is in the body and nowhere else,
// and is not understood here. README.md has the configuration.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Driver posts to the operator's receiver. Make one with New.
type Driver struct {
	// Fixed after construction.
	conf   Config
	made   compiled
	client *http.Client
	slots  outbound.Slots
}

var _ driver.Driver = (*Driver)(nil)

// New returns the driver. It connects to nobody yet. Faults of the
// configuration are edition.ErrConfig.
func New(c Config, _ driver.Env) (*Driver, error) {
	made, faults := c.compile()
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	client, err := outbound.New(outbound.Options{TLS: c.TLS, Timeout: c.Timeout, Conns: c.ParallelRequests, Unix: made.unix})
	if err != nil {
		return nil, fmt.Errorf("%w: tls: %w", edition.ErrConfig, err)
	}
	return &Driver{conf: c, made: made, client: client, slots: make(outbound.Slots, c.ParallelRequests)}, nil
}

// Check accepts {"id":"lamp-7"}, and with it "data", an object of text, numbers
// and truth values.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := d.parse(raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// Aim is the id. The data are not part of it: a device may make them up.
func (d *Driver) Aim(raw json.RawMessage) string {
	var t target
	if json.Unmarshal(raw, &t) != nil {
		return ""
	}
	return t.ID
}

// event is the body of a request, in the form that Standard Webhooks advises.
type event struct {
	Type      string `json:"type"`      // "kick"; "kicks" for a batch
	Timestamp string `json:"timestamp"` // RFC 3339
	Data      any    `json:"data"`      // item; []item for a batch
}

// item is one kick.
type item struct {
	Target  target `json:"target"`            // what the device said about itself
	Confirm string `json:"confirm,omitempty"` // to be passed on to the device
}

// read returns what a kick looks like to the receiver.
func (d *Driver) read(k driver.Kick) (item, error) {
	t, err := d.parse(k.Target)
	if errors.Is(err, edition.ErrMalformed) {
		err = fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	return item{Target: t, Confirm: k.Confirm}, err
}

// body returns what is sent for some kicks: one, unless they are batched.
func (d *Driver) body(items []item, at string) ([]byte, error) {
	e := event{Type: "kicks", Timestamp: at, Data: items}
	if d.conf.Batch == 1 {
		e.Type, e.Data = "kick", items[0]
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// request makes the request for some kicks.
func (d *Driver) request(ctx context.Context, items []item) (*http.Request, error) {
	now := time.Now().UTC()
	body, err := d.body(items, now.Format(time.RFC3339Nano))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.made.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	id, at := "msg_"+rand.Text(), strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", d.sign(id+"."+at+"."+string(body)))
	return req, nil
}

// sign returns a signature with each secret, separated by blanks.
func (d *Driver) sign(content string) string {
	all := make([]string, len(d.made.keys))
	for i, key := range d.made.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(content))
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(all, " ")
}

// Show returns the request that would carry the kick alone.
func (d *Driver) Show(k driver.Kick) (string, error) {
	it, err := d.read(k)
	if err != nil {
		return "", err
	}
	body, err := d.body([]item{it}, "<now>")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("POST %s\nContent-Type: application/json\nWebhook-Id: msg_<random>\nWebhook-Timestamp: <now>\n"+
		"Webhook-Signature: v1,<signature>\n\n%s\n", d.conf.URL, body), nil
}

// Kick posts the kicks, each in a request of its own or batch by batch, as
// many at once as the configuration allows.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	items, at := make([]item, 0, len(kicks)), make([]int, 0, len(kicks)) // at: their places in errs
	for i, k := range kicks {
		it, err := d.read(k)
		if errs[i] = err; err == nil {
			items, at = append(items, it), append(at, i)
		}
	}
	size := d.conf.Batch
	d.slots.Each(ctx, (len(items)+size-1)/size, func(i int) {
		from, to := i*size, min((i+1)*size, len(items))
		d.post(ctx, items[from:to], func(n int, err error) { errs[at[from+n]] = err })
	})
}

// post sends one request and tells by set what became of each of its kicks.
func (d *Driver) post(ctx context.Context, items []item, set func(n int, err error)) {
	answer, err := d.ask(ctx, items)
	switch {
	case err != nil:
		for n := range items {
			set(n, err)
		}
	case d.conf.Batch == 1:
		set(0, single(answer))
	default:
		batch(answer, set, len(items))
	}
}

func (d *Driver) ask(ctx context.Context, items []item) (*outbound.Answer, error) {
	req, err := d.request(ctx, items)
	if err != nil {
		return nil, err
	}
	answer, err := outbound.Do(d.client, req, maxAnswer)
	if errors.Is(err, outbound.ErrConnect) {
		return nil, fmt.Errorf("%w: the receiver: %w", edition.ErrUnavailable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the receiver: %w", err)
	}
	return answer, nil
}

// Close closes the connections that are kept open.
func (d *Driver) Close() error {
	d.client.CloseIdleConnections()
	return nil
}
