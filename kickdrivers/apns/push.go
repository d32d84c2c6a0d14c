package apns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// payload is the body of a push; a code to be repeated travels beside what
// Apple reads.
func (c Config) payload(confirm string) []byte {
	p := payload.NewPayload()
	if c.Push == alert {
		if c.Alert.Title != "" {
			p.AlertTitle(c.Alert.Title)
		}
		if c.Alert.Body != "" {
			p.AlertBody(c.Alert.Body)
		}
	}
	p.ContentAvailable()
	if confirm != "" {
		p.Custom("confirm", confirm)
	}
	b, err := json.Marshal(p)
	if err != nil { // of strings and numbers: cannot be
		return nil
	}
	return b
}

func (d *Driver) body(confirm string) []byte {
	if confirm == "" {
		return d.wake
	}
	return d.config.payload(confirm)
}

func (d *Driver) url(t target) string { return d.origin + "/3/device/" + t.Token }

// header is what all pushes of a topic carry now, but for the proof of who
// sends. Its keys are written as HTTP/2 has them.
func (d *Driver) header(topic string) http.Header {
	priority := apns2.PriorityLow // an error otherwise, for background pushes
	if d.config.Push == alert {
		priority = apns2.PriorityHigh
	}
	var until int64 // 0: now or never
	if d.config.Expiration > 0 {
		until = time.Now().Add(d.config.Expiration).Unix()
	}
	h := http.Header{
		"content-type":    {"application/json"},
		"user-agent":      {"edition"},
		"apns-topic":      {topic},
		"apns-push-type":  {d.config.Push},
		"apns-priority":   {strconv.Itoa(priority)},
		"apns-expiration": {strconv.FormatInt(until, 10)},
	}
	if d.config.CollapseID != "" {
		h["apns-collapse-id"] = []string{d.config.CollapseID}
	}
	return h
}

var errNoAnswer = errors.New("no answer in time")

// maxRequests is how many requests one attempt may take. More than one are
// made when the connection was lost under the first, as with Apple's goodbye,
// which connections of one age may say in a row; and when the provider's token
// was refused as too old.
const maxRequests = 3

// push makes one attempt. The head is shared with others.
func (d *Driver) push(ctx context.Context, url string, h head, body []byte) error {
	limited, cancel := context.WithTimeoutCause(ctx, d.config.Timeout, errNoAnswer)
	defer cancel()
	for n := 1; ; n++ {
		a, err := d.post(limited, url, h.header, body)
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && limited.Err() != nil:
			return fmt.Errorf("%w: %w", edition.ErrUnavailable, errNoAnswer)
		case err != nil:
			if errors.Is(err, outbound.ErrConnect) || n == maxRequests {
				return fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
			}
		case a.reason == apns2.ReasonExpiredProviderToken && n < maxRequests && d.token != nil && d.token.renew(h.bearer):
			bearer, err := d.bearer()
			if err != nil {
				return err
			}
			h = proven(maps.Clone(h.header), bearer)
		default:
			return a.err()
		}
	}
}

// bearer returns the provider's token, nothing where there is none.
func (d *Driver) bearer() (string, error) {
	if d.token == nil {
		return "", nil
	}
	b, err := d.token.bearer()
	if err != nil {
		return "", fmt.Errorf("%w: the provider's token: %w", edition.ErrUnavailable, err)
	}
	return b, nil
}

// head is a request's header with the provider's token, if there is one.
type head struct {
	header http.Header
	bearer string
}

// proven puts the provider's token into a header.
func proven(h http.Header, bearer string) head {
	if bearer != "" {
		h["authorization"] = []string{"bearer " + bearer}
	}
	return head{header: h, bearer: bearer}
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 4 << 10

// post makes one request. What it returns does not tell the URL.
func (d *Driver) post(ctx context.Context, url string, h http.Header, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, errors.New("the request cannot be made")
	}
	req.Header = h
	res, err := d.pool.roundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, after: outbound.RetryAfter(res.Header)}
	if a.status != http.StatusOK {
		a.reason = reasonIn(io.LimitReader(res.Body, maxAnswer))
	}
	return a, nil
}

// reasonIn reads Apple's word for what is wrong, or nothing when the answer
// was somebody else's.
func reasonIn(body io.Reader) string {
	var said struct {
		Reason string `json:"reason"`
	}
	if json.NewDecoder(body).Decode(&said) != nil || len(said.Reason) > 64 {
		return ""
	}
	return said.Reason
}
