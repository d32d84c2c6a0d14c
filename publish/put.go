package publish

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/httpconn"
)

const (
	// maxBody is the greatest body of a PUT, in bytes, unless it is a form: in
	// that, data may be longer by their escapes.
	maxBody = 4 << 10
	maxForm = 3*edition.MaxBody + 256
)

var (
	errBody = fmt.Errorf("%w: a body has at most %d bytes", edition.ErrTooLarge, maxBody)
	errForm = fmt.Errorf("%w: a form has at most %d bytes", edition.ErrTooLarge, maxForm)
	errCut  = fmt.Errorf("%w: the body ended early", edition.ErrMalformed)
	errLeft = fmt.Errorf("%w: the client has left", edition.ErrUnavailable)
)

// call is the memory of one PUT, used again for the next.
type call struct {
	body [maxBody + 1]byte // one more, to see that a body is too large
	out  []byte
}

func newCall() *call { return &call{out: make([]byte, 0, 128)} }

// read reads a body, one byte more than maxBody at the most. It may be called
// on a body once.
func (c *call) read(body io.Reader) (n int, err error) {
	for n < len(c.body) {
		m, err := body.Read(c.body[n:])
		n += m
		if err == io.EOF {
			break
		}
		if err != nil {
			return n, errCut
		}
	}
	return n, nil
}

// put takes one version and answers when it is durable or delivered.
func (p *Publisher) put(w http.ResponseWriter, r *http.Request, ep Endpoint) {
	c := p.pool.Get().(*call)
	defer p.pool.Put(c)
	ctx := r.Context()
	if conn := httpconn.Of(ctx); conn != nil && r.ContentLength != 0 {
		// The wait is short, and what was sent is kept whoever leaves.
		conn.Unwatch()
		defer conn.Watch()
		ctx = context.Background()
	}

	key := ep.Key
	var s signal
	err := p.mayPut(r, &ep)
	if err == nil {
		err = s.read(r, c)
	}
	if err != nil {
		p.refuse(w, doorPut, key.UAID, err)
		return
	}
	update := edition.Update{{Key: key, Version: s.version}} // not pooled: the store may keep it
	how := edition.Delivery{Make: !s.known}
	if s.data != nil {
		how.Bodies = []*edition.Body{{AppID: key.AppID, Urgency: edition.UrgencyNormal, Data: s.data}}
	}
	results, err := p.keep(ctx, update, how)
	if err == nil {
		err = failure(results[0])
	}
	if err != nil {
		p.refuse(w, doorPut, key.UAID, err)
		return
	}
	p.count(doorPut, reasonOfResult(results[0]), key.UAID)

	h := w.Header()
	h["Content-Type"] = typeJSON
	w.WriteHeader(statusOf(results[0]))
	c.out = appendResult(c.out[:0], results[0])
	w.Write(c.out) //nolint:errcheck // the client may have left
}

// mayPut asks who sends, if the endpoint belongs to one.
func (p *Publisher) mayPut(r *http.Request, ep *Endpoint) error {
	if ep.Owner == (KeyHash{}) {
		return nil
	}
	who, err := p.sender(r.Header)
	if err != nil {
		return err
	}
	return ep.mayBeSentTo(who)
}

// read reads a request: the query and the body are one form.
func (s *signal) read(r *http.Request, c *call) error {
	f, err := formOf(r)
	if err == nil && r.URL.RawQuery != "" {
		err = s.parseForm([]byte(r.URL.RawQuery))
	}
	switch {
	case err != nil:
		return err
	case r.ContentLength > maxForm, f != formURL && r.ContentLength > maxBody:
		return tooLarge(f)
	case r.ContentLength == 0:
		return nil
	}
	n, err := c.read(r.Body)
	body := c.body[:n]
	switch {
	case err != nil:
		return err
	case n == 0:
		return nil
	case n > maxBody && f != formURL:
		return errBody
	case n > maxBody:
		rest, err := io.ReadAll(io.LimitReader(r.Body, int64(maxForm+1-n)))
		if err != nil {
			return errCut
		}
		if body = append(body[:n:n], rest...); len(body) > maxForm {
			return errForm
		}
	}
	return s.parseBody(f, body)
}

func tooLarge(f form) error {
	if f == formURL {
		return errForm
	}
	return errBody
}

// keep delivers an update and waits for its receipt, the end of ctx, or the
// limit.
func (p *Publisher) keep(ctx context.Context, u edition.Update, how edition.Delivery) ([]edition.Result, error) {
	if !p.enter() {
		return nil, errBusy
	}
	defer p.leave()
	return p.await(ctx, p.deliver(u, how))
}

// enter takes one of the places to wait, leave gives it back.
func (p *Publisher) enter() bool {
	if p.waiting.Add(1) > int64(p.limits.Waiting) {
		p.leave()
		return false
	}
	return true
}

func (p *Publisher) leave() { p.waiting.Add(-1) }

func (p *Publisher) await(ctx context.Context, receipt *edition.Receipt) ([]edition.Result, error) {
	start := time.Now()
	select {
	case <-receipt.Done():
	default:
		select {
		case <-receipt.Done():
		case <-ctx.Done():
			return nil, errLeft
		case <-p.patience.From(start).Done():
			return nil, errUnknown
		}
	}
	p.metrics.seconds.Observe(time.Since(start).Seconds())
	return receipt.Wait(context.Background()) // all there: does not wait
}

// failure is the error that a result is answered with, nil for a promise.
func failure(r edition.Result) error {
	switch {
	case r.Outcome == edition.OutcomeStored || r.Outcome == edition.OutcomeDelivered:
		return nil
	case r.Outcome == edition.OutcomeGone || r.Outcome == edition.OutcomeRefused:
		return errGone
	case r.Err != nil:
		return r.Err
	}
	return errUnknown
}

func statusOf(r edition.Result) int {
	if r.Outcome == edition.OutcomeDelivered {
		return http.StatusOK
	}
	return http.StatusAccepted
}

// appendResult appends the answer to a PUT.
func appendResult(b []byte, r edition.Result) []byte {
	b = append(b, `{"status":"`...)
	b = append(b, r.Outcome.String()...)
	b = append(b, `","version":`...)
	b = strconv.AppendUint(b, uint64(r.Version), 10)
	if r.Superseded && r.Outcome == edition.OutcomeStored {
		b = append(b, `,"superseded":true`...)
	}
	return append(b, "}\n"...)
}
