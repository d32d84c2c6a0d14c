// Package mqtt is the kick driver that publishes a small message on the
// operator's MQTT 5 broker, to a topic that the device is subscribed to.
//
// It promises that a device reaches no topic but those that the operator's
// template allows it, that nothing is ever retained, that no more messages are
// in flight than the broker takes, and that a broker that is down delays
// nobody: the driver opens without it and finds it again by itself. It does
// not know whether a device got the message. README.md has the configuration.
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Driver publishes kicks. Make one with New.
type Driver struct {
	// Fixed after construction.
	broker         string // its URL, for the operator's eyes
	topic, payload template
	fields         []string
	qos            byte
	expiry         time.Duration
	timeout        time.Duration
	env            driver.Env
	link           *link

	places    chan struct{}  // one for each kick under way
	publishes sync.WaitGroup // they may outlive their Kick, not the driver
}

// New returns the driver, which connects in the background from now on. Faults
// of the configuration are edition.ErrConfig; a broker that does not answer is
// none.
func New(c Config, env driver.Env) (*Driver, error) {
	made, faults := c.compile()
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	d := &Driver{
		broker: made.url.Redacted(), topic: made.topic, payload: made.payload, fields: made.fields,
		qos: byte(c.QoS), expiry: c.MessageExpiry, timeout: c.Timeout, env: env,
		places: make(chan struct{}, c.ParallelRequests),
	}
	var err error
	d.link, err = newLink(c, made, env.Logger())
	return d, err
}

// message is one kick, filled in.
type message struct {
	topic   string
	payload string
}

func (d *Driver) message(k driver.Kick) (message, error) {
	t, err := d.parse(k.Target)
	if err != nil {
		return message{}, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	m := message{topic: d.topic.fill(t, ""), payload: d.payload.fill(t, k.Confirm)}
	if k.Confirm != "" && !d.payload.has(confirmField) {
		m.payload += " " + k.Confirm
	}
	return m, nil
}

func (d *Driver) publish(m message, qos byte) *paho.Publish {
	p := &paho.Publish{QoS: qos, Topic: m.topic, Payload: []byte(m.payload), Properties: &paho.PublishProperties{}}
	if d.expiry > 0 {
		seconds := uint32(d.expiry / time.Second)
		p.Properties.MessageExpiry = &seconds
	}
	return p
}

// Show returns the broker, the topic and the message.
func (d *Driver) Show(k driver.Kick) (string, error) {
	m, err := d.message(k)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "publish at %s\ntopic %s\nqos %d, not retained", d.broker, m.topic, d.qos)
	if d.expiry > 0 {
		fmt.Fprintf(&out, ", expires after %v", d.expiry)
	}
	fmt.Fprintf(&out, "\npayload %s\n", m.payload)
	return out.String(), nil
}

// Kick publishes a message for each kick, as many at once as there are places.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	var wg sync.WaitGroup
	for i, k := range kicks {
		m, err := d.message(k)
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
			errs[i] = d.send(ctx, m)
			<-d.places
		})
	}
	wg.Wait()
}

// send makes one attempt. It returns when ctx ends, though the message may
// still be on its way to a broker that does not read.
func (d *Driver) send(ctx context.Context, m message) error {
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	session, err := d.link.await(limited)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if most := session.packet; most > 0 && len(m.topic)+len(m.payload)+packetOverhead > most {
		return fmt.Errorf("%w: the message is larger than the %d bytes that the broker takes", edition.ErrForbidden, most)
	}
	type answer struct {
		*paho.PublishResponse
		err error
	}
	answered := make(chan answer, 1)
	d.publishes.Go(func() {
		r, err := d.link.manager.Publish(limited, d.publish(m, min(d.qos, session.qos)))
		answered <- answer{r, err}
	})
	select {
	case a := <-answered:
		if ctx.Err() != nil && a.PublishResponse == nil {
			return context.Cause(ctx)
		}
		return d.outcome(a.PublishResponse, a.err)
	case <-session.lost:
		return fmt.Errorf("%w: the broker's connection was lost", edition.ErrUnavailable)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// packetOverhead is what a PUBLISH has besides topic and payload, at most
// (MQTT 5, section 3.3): a header of 5, two of length, two of identifier, and
// the properties' length with the message expiry.
const packetOverhead = 5 + 2 + 2 + 1 + 5

// Close disconnects from the broker.
func (d *Driver) Close() error {
	err := d.link.close()
	d.publishes.Wait()
	return err
}
