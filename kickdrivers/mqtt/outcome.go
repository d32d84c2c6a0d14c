package mqtt

import (
	"context"
	"errors"
	"fmt"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edition-push/edition"
)

// Reason codes of a PUBACK: MQTT 5, section 3.4.2.1. Those from 0x80 on are
// refusals.
const (
	reasonNoSubscribers  = 0x10
	reasonRefused        = 0x80 // the first of them
	reasonNotAuthorized  = 0x87
	reasonTopicInvalid   = 0x90
	reasonQuotaExceeded  = 0x97
	reasonPayloadInvalid = 0x99
)

// outcome says by an error what became of a message.
func (d *Driver) outcome(r *paho.PublishResponse, err error) error {
	if r == nil {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%w: the broker did not answer within %v", edition.ErrUnavailable, d.timeout)
		case err == nil:
			return fmt.Errorf("%w: the broker did not answer", edition.ErrUnavailable)
		}
		return fmt.Errorf("%w: the broker's connection: %w", edition.ErrUnavailable, err)
	}
	var kind error
	switch r.ReasonCode {
	case reasonNoSubscribers:
		d.env.Count("no_subscriber")
		return nil
	case reasonNotAuthorized, reasonTopicInvalid, reasonPayloadInvalid:
		kind = edition.ErrForbidden
	case reasonQuotaExceeded:
		kind = edition.ErrTooMany
	}
	switch {
	case kind != nil:
		return fmt.Errorf("%w: the broker answered %#02x", kind, r.ReasonCode)
	case r.ReasonCode >= reasonRefused:
		return fmt.Errorf("the broker answered %#02x", r.ReasonCode)
	}
	return nil
}
