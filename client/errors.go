package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Reason names why a connection or a request failed. It is the label of the
// metric and the attribute of the log line.
type Reason string

// The reasons.
const (
	ReasonDial     Reason = "dial"      // no connection could be made
	ReasonProxy    Reason = "proxy"     // the proxy refused or does not speak as it should
	ReasonTLS      Reason = "tls"       // the certificate of one side was not accepted
	ReasonUpgrade  Reason = "upgrade"   // something on the way does not let a WebSocket through
	ReasonRedirect Reason = "redirect"  // the answer was a redirect; none is followed
	ReasonHTML     Reason = "html"      // the answer was a web page
	ReasonTooLarge Reason = "too_large" // the answer was over the limit
	ReasonProtocol Reason = "protocol"  // the answer was not the edition protocol
	ReasonRefused  Reason = "refused"   // upstream answered with an error
	ReasonTimeout  Reason = "timeout"   // upstream has gone silent
	ReasonClosed   Reason = "closed"    // the connection ended
	ReasonRestart  Reason = "restart"   // upstream drains (1012) and says when to come back
	ReasonReplaced Reason = "replaced"  // a newer connection took over (4409)
	ReasonLoop     Reason = "loop"      // upstream is below this relay
	ReasonIdle     Reason = "idle"      // upstream wakes this device when there is something (4774)
)

// Error is a failed connection or request. It wraps the error that upstream
// meant (package wire holds the table), [edition.ErrUnavailable] where it was
// not upstream that spoke.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns why an error of this package happened, or "".
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// errOffline answers calls at once while there is no connection.
var errOffline = fmt.Errorf("%w: not connected to upstream", edition.ErrUnavailable)

func fault(r Reason, format string, args ...any) error {
	return &Error{Reason: r, Err: &unavailable{fmt.Errorf(format, args...)}}
}

// unavailable is an edition.ErrUnavailable that reads as what happened.
type unavailable struct{ err error }

func (e *unavailable) Error() string { return e.err.Error() }

func (e *unavailable) Unwrap() []error { return []error{edition.ErrUnavailable, e.err} }

// netFault sorts an error of the network below.
func netFault(err error, otherwise Reason) error {
	if ReasonOf(err) != "" {
		return err
	}
	if isTLS(err) {
		return fault(ReasonTLS, "%w", err)
	}
	if isTimeout(err) {
		return fault(ReasonTimeout, "%w", err)
	}
	return fault(otherwise, "%w", err)
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // an alert
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// closeFault sorts the end of a WebSocket. A 1012's reason is the number of
// seconds to stay away.
func closeFault(err error) error {
	if errors.Is(err, websocket.ErrReadLimit) {
		return fault(ReasonTooLarge, "a message from upstream is over %d bytes", maxAnswer)
	}
	ce, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return netFault(err, ReasonClosed)
	}
	switch ce.Code {
	case wire.CloseRestart:
		after := defaultRestart
		if s, err := edition.ParseVersion(ce.Text); err == nil && s <= 86400 {
			after = time.Duration(s) * time.Second
		}
		return &Error{Reason: ReasonRestart, Err: edition.RetryAfter(
			fmt.Errorf("%w: upstream restarts", edition.ErrUnavailable), after)}
	case wire.CloseReplaced:
		return fault(ReasonReplaced, "a newer connection has taken over")
	case wire.CloseUnauthorized:
		return &Error{Reason: ReasonRefused, Err: fmt.Errorf("%w: upstream does not accept the token or certificate of this relay any more", edition.ErrUnauthorized)}
	case wire.CloseIdle:
		return fault(ReasonIdle, "upstream wakes this device when there is something")
	case websocket.CloseMessageTooBig:
		return fault(ReasonTooLarge, "upstream refused a message as too large: %s", ce.Text)
	case websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseAbnormalClosure:
		return fault(ReasonClosed, "%w", err)
	}
	return fault(ReasonProtocol, "%w", err)
}
