// Package sms is the kick driver that sends a short message to the number that
// a device has registered: through an SMSC by SMPP, or through Kannel.
//
// It promises to send only to numbers that begin as the operator allows, one
// short message a kick and never a longer one, and to tell or log nobody's
// number. It does not split messages, read what phones answer, or know more of
// a message's fate than the receipts that it counts. README.md has the
// configuration.
package sms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Driver sends short messages. Make one with New.
type Driver struct {
	// Fixed after construction.
	c        Config
	plain    message // without a code
	way      way
	parallel int // messages of one batch under way at once
}

// way is who takes the messages: an SMSC or Kannel.
type way interface {
	// send hands in one message. Its errors are those of driver.Driver.
	send(ctx context.Context, number string, m message) error
	// show says what send would send.
	show(number string, m message) string
	close()
}

// New returns the driver. It connects with the first kick. Faults of the
// configuration are edition.ErrConfig.
func New(c Config, env driver.Env) (*Driver, error) {
	if faults := c.Faults(); len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	d := &Driver{c: c, parallel: c.SMPP.Window}
	var err error
	if d.plain, err = c.message(""); err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, err)
	}
	if c.Via == viaKannel {
		d.parallel = c.Kannel.ParallelRequests
		d.way, err = newKannel(c)
	} else {
		d.way, err = newLink(c, env)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, err)
	}
	return d, nil
}

// Check accepts {"msisdn":"+34600111222"}: an international number, with
// blanks or not, that begins with an allowed prefix.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if err := d.c.allow(t.MSISDN); err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// Aim is the number.
func (d *Driver) Aim(raw json.RawMessage) string {
	t, err := parse(raw)
	if err != nil {
		return ""
	}
	return t.MSISDN
}

// ready reads a kick and makes its message.
func (d *Driver) ready(k driver.Kick) (number string, m message, err error) {
	t, err := parse(k.Target)
	if err != nil {
		return "", m, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	if err := d.c.allow(t.MSISDN); err != nil {
		return "", m, err
	}
	if m = d.plain; k.Confirm != "" {
		m, err = d.c.message(k.Confirm)
	}
	return t.MSISDN, m, err
}

// Show returns the message and where it would go.
func (d *Driver) Show(k driver.Kick) (string, error) {
	number, m, err := d.ready(k)
	if err != nil {
		return "", err
	}
	return d.way.show(number, m), nil
}

// Kick sends one message for each kick, as many at once as may be. When the
// provider fails or wants to be left alone, what is not yet sent of the batch
// gets the same answer without being sent.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	var (
		wg   sync.WaitGroup
		next atomic.Int64
		stop atomic.Pointer[error]
	)
	for range min(d.parallel, len(kicks)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(kicks); i = int(next.Add(1)) - 1 {
				number, m, err := d.ready(kicks[i])
				if err != nil {
					errs[i] = err
					continue
				}
				if all := stop.Load(); all != nil {
					errs[i] = *all
					continue
				}
				if errs[i] = d.way.send(ctx, number, m); forAll(errs[i]) {
					stop.Store(&errs[i])
				}
			}
		})
	}
	wg.Wait()
}

// Close ends the connection with its provider.
func (d *Driver) Close() error {
	d.way.close()
	return nil
}

// throttledError is a provider that wants to be left alone, whatever the
// number.
type throttledError struct{ error }

func (e throttledError) Unwrap() error { return e.error }

// forAll reports whether an error says something of all kicks.
func forAll(err error) bool {
	_, throttled := errors.AsType[throttledError](err)
	return throttled || errors.Is(err, edition.ErrUnavailable)
}
