package apns

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// pingAfter is how long a connection may be silent before it is asked
	// whether it is alive, pingTimeout how long it may take to answer. An end
	// that does not read is found out so too.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	maxHeader   = 16 << 10 // bytes of an answer's header
)

// pool is a fixed number of HTTP/2 connections to one host. When all their
// streams are taken a request waits: there is never one connection more.
type pool struct {
	lines []line
	turn  atomic.Uint32
	close context.CancelFunc // ends dialling
}

// newPool returns a pool that has no connection yet. timeout bounds the making
// of one.
func newPool(n int, origin string, conf *tls.Config, timeout time.Duration) (*pool, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	only := new(http.Protocols)
	only.SetHTTP2(true)
	t := &http.Transport{
		Proxy:                  nil, // whatever the environment says
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    timeout,
		Protocols:              only,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		// A write that fails costs all the requests on its connection, which
		// are then made twice: a machine that has stood still is no reason.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: timeout},
	}
	p := &pool{lines: make([]line, n)}
	var closed context.Context
	closed, p.close = context.WithCancel(context.Background())
	for i := range p.lines {
		p.lines[i].dial = func() (*http.ClientConn, error) {
			ctx, cancel := context.WithTimeoutCause(closed, timeout, errNoAnswer)
			defer cancel()
			return t.NewClientConn(ctx, "https", addr)
		}
	}
	return p, nil
}

// roundTrip sends a request over the line that has least to do, and returns as
// an http.RoundTripper does.
func (p *pool) roundTrip(req *http.Request) (*http.Response, error) {
	l := p.take()
	defer l.busy.Add(-1)
	c, err := l.reserve(req.Context())
	if err != nil {
		return nil, err
	}
	res, err := c.RoundTrip(req)
	l.done(c, err == nil)
	return res, err
}

// take returns the line with the fewest requests, beginning with another one
// each time, so that a connection that has died without a word is avoided
// until its ping finds it out.
func (p *pool) take() *line {
	n := uint32(len(p.lines))
	first := p.turn.Add(1)
	best := &p.lines[first%n]
	for i := uint32(1); i < n; i++ {
		if l := &p.lines[(first+i)%n]; l.busy.Load() < best.busy.Load() {
			best = l
		}
	}
	best.busy.Add(1)
	return best
}

// closeAll ends the connections, and those that are being made.
func (p *pool) closeAll() error {
	p.close()
	var errs []error
	for i := range p.lines {
		errs = append(errs, p.lines[i].close())
	}
	return errors.Join(errs...)
}
