package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edition-push/edition"
)

// ErrConnect is a request that could not be sent, since there was no
// connection: no such name, nobody listens, TLS failed. Whatever the request
// was about, it had no part in this.
var ErrConnect = errors.New("cannot connect")

// Answer is what came back, whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Cut says that there was more of the body than was to be read, or that
	// it broke off.
	Cut bool
}

// Do sends one request and reads its answer: of the body at most maxBody
// bytes. An answer with any status is no error, nor is one whose body breaks
// off, for the status says what happened. The error does not carry the URL; it
// is edition.ErrForbidden where the client's Guard said no, and ErrConnect
// where there was no connection.
func Do(client *http.Client, req *http.Request, maxBody int) (*Answer, error) {
	var failed, connected atomic.Bool
	note := func(err error) {
		if err != nil {
			failed.Store(true)
		}
	}
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		DNSDone:          func(i httptrace.DNSDoneInfo) { note(i.Err) },
		ConnectDone:      func(_, _ string, err error) { note(err) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { note(err) },
		GotConn:          func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	res, err := client.Do(req.WithContext(ctx))
	if err != nil {
		err = plain(err)
		if failed.Load() && !connected.Load() && !errors.Is(err, edition.ErrForbidden) {
			err = fmt.Errorf("%w: %w", ErrConnect, err)
		}
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(maxBody)+1))
	a := &Answer{Status: res.StatusCode, Header: res.Header, Body: body, Cut: err != nil}
	if len(body) > maxBody {
		a.Body, a.Cut = body[:maxBody], true
	}
	return a, nil
}

// maxError bounds the text of an error: it may quote what a server sent.
const maxError = 200

// plain takes the URL, which may be a capability, out of an error, and cuts a
// long text.
func plain(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	if len(err.Error()) > maxError {
		return cut{err}
	}
	return err
}

type cut struct{ error }

func (c cut) Error() string { return strings.ToValidUTF8(c.error.Error()[:maxError], "") + "…" }

func (c cut) Unwrap() error { return c.error }

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns what the header Retry-After says (RFC 9110, section
// 10.2.3: seconds, or a date), at most a day. It is 0 when there is none, or
// none that makes sense.
func RetryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}

// Slots bounds how many requests of a driver are under way: its capacity.
type Slots chan struct{}

// Each calls do with 0 … n-1, each in a goroutine of its own when there is a
// slot for it, and returns when all have returned. When ctx ends, the rest is
// called with no slot: it should fail at once with that context.
func (s Slots) Each(ctx context.Context, n int, do func(i int)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range n {
		select {
		case s <- struct{}{}:
			wg.Go(func() {
				defer func() { <-s }()
				do(i)
			})
		case <-ctx.Done():
			do(i)
		}
	}
}
