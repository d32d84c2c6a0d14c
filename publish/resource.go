package publish

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/edition-push/edition"
)

// receiptAgain is how often a store is asked anew what became of a message, for
// what no ack tells: that it was forgotten for want of room, replaced, or
// withdrawn.
const receiptAgain = 5 * time.Second

var (
	errNoMessage  = fmt.Errorf("%w: this was not made here", edition.ErrNotFound)
	errOver       = fmt.Errorf("%w: the message was delivered, was replaced, has expired, or was withdrawn", edition.ErrGone)
	errNoReceipt  = fmt.Errorf("%w: the message was not delivered, or it is too long ago", edition.ErrGone)
	errReceipts   = edition.RetryAfter(fmt.Errorf("%w: too many requests wait for receipts", edition.ErrUnavailable), 5*time.Second)
	statePending  = []byte(`{"state":"pending"}` + "\n")
	methodsDelete = []string{"DELETE, OPTIONS"}
	methodsGet    = []string{"GET, OPTIONS"}
)

// serveMessage answers at the address that a message was given (RFC 8030 §5,
// Location): DELETE withdraws it.
func (p *Publisher) serveMessage(w http.ResponseWriter, r *http.Request, token string) {
	if !p.preflight(w, r, doorMessage, http.MethodDelete, methodsDelete) {
		return
	}
	m, err := p.keys.openParcel(formatMessage, token)
	if err != nil {
		p.refuse(w, doorMessage, m.UAID, errNoMessage)
		return
	}
	withdrawn, err := p.withdraw(r.Context(), m.Event)
	if err == nil && !withdrawn {
		err = errOver
	}
	if err != nil {
		p.refuse(w, doorMessage, m.UAID, err)
		return
	}
	p.count(doorMessage, reasonWithdrawn, m.UAID)
	w.WriteHeader(http.StatusNoContent)
}

// serveReceipt answers at the address of a receipt (RFC 8030 §6.3). Where the
// RFC pushes a response for each message over HTTP/2, a GET is held until what
// became of the one message is known: 204 when its device has acknowledged it,
// 410 when it never will.
func (p *Publisher) serveReceipt(w http.ResponseWriter, r *http.Request, token string) {
	if !p.preflight(w, r, doorReceipt, http.MethodGet, methodsGet) {
		return
	}
	m, err := p.keys.openParcel(formatReceipt, token)
	if err != nil {
		p.refuse(w, doorReceipt, m.UAID, errNoMessage)
		return
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	switch known, err := p.awaitReceipt(r, m); {
	case err != nil:
		p.refuse(w, doorReceipt, m.UAID, err)
	case known:
		p.count(doorReceipt, reasonDelivered, m.UAID)
		w.WriteHeader(http.StatusNoContent)
	default:
		p.count(doorReceipt, reasonPending, m.UAID)
		h["Content-Type"] = typeJSON
		w.Write(statePending) //nolint:errcheck // the client may have left
	}
}

// awaitReceipt returns true once the message was delivered, and false when the
// time that the request may be held is over first.
func (p *Publisher) awaitReceipt(r *http.Request, m parcel) (delivered bool, err error) {
	if p.held.Add(1) > int64(p.limits.Receipts) {
		p.held.Add(-1)
		return false, errReceipts
	}
	defer p.held.Add(-1)
	var bell <-chan struct{}
	if p.watch != nil {
		b, end := p.watch(m.Key)
		defer end()
		bell = b
	}
	over := time.NewTimer(waitOf(r.Header))
	defer over.Stop()
	ends := time.NewTimer(time.Until(m.ends))
	defer ends.Stop()
	again := time.NewTicker(receiptAgain)
	defer again.Stop()
	for {
		if delivered, err := p.receiptOf(m); delivered || err != nil {
			return delivered, err
		}
		select {
		case <-bell:
		case <-ends.C:
		case <-again.C:
		case <-over.C:
			return false, nil
		case <-r.Context().Done():
			return false, errLeft
		case <-p.stopped.Done():
			return false, errDrain
		}
	}
}

// receiptOf says what is known of a message now; errNoReceipt when it is not
// known, and never will be, to have been delivered.
func (p *Publisher) receiptOf(m parcel) (delivered bool, err error) {
	if m.Version == 0 { // was dropped
		return false, errNoReceipt
	}
	s, err := p.store.State(m.Key)
	switch {
	case errors.Is(err, edition.ErrGone):
		return false, errNoReceipt
	case err != nil:
		return false, err
	case s.Delivered == m.Version:
		return true, nil
	case s.State == edition.StatePending && s.Version == m.Version, s.Relayed:
		return false, nil
	}
	return false, errNoReceipt
}

// preflight answers everything but the one method that a resource has.
func (p *Publisher) preflight(w http.ResponseWriter, r *http.Request, d door, method string, methods []string) (goOn bool) {
	h := w.Header()
	h["Access-Control-Allow-Origin"] = corsAny
	switch r.Method {
	case method:
		return true
	case http.MethodOptions:
		p.allow(w, methods)
	default:
		h["Allow"] = methods
		p.refuse(w, d, edition.UAID{}, methodError(r.Method))
	}
	return false
}
