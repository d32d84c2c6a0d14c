// Package outbound is how kick drivers speak HTTP to others: a client that
// goes where it was told and nowhere else.
//
// It promises that no request follows a redirect, takes a proxy from the
// environment, keeps cookies or reads more than it was told to; that no error
// carries a URL; and, under a Guard, that a request leaves by https for a host
// that the operator has listed, over a connection to an address that may be
// connected to, whatever a resolver said a moment ago. It makes one attempt
// and has no opinion about answers: those are the driver's.
package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Options of a client. The zero Options are usable.
type Options struct {
	TLS TLS
	// Timeout bounds one request with its answer's body; 0 is 10 seconds.
	Timeout time.Duration
	// Conns is the number of connections to one host; 0 is 16. With HTTP/2
	// one carries many requests.
	Conns int
	// Guard, if not nil, is asked before each request and each connection.
	// URLs that a device has named need one.
	Guard *Guard
	// Unix, if not empty, is the path of a socket that all requests go to.
	Unix string
	// Resolver is nil for the system's.
	Resolver *net.Resolver
}

const (
	defaultTimeout = 10 * time.Second
	defaultConns   = 16
	maxHeader      = 16 << 10 // bytes of an answer's header
	maxIdle        = 256      // connections to all hosts that nothing uses
	idleTimeout    = 90 * time.Second
)

// New returns a client. Call CloseIdleConnections when it is no longer used.
// The error tells what is wrong with the TLS files.
func New(o Options) (*http.Client, error) {
	conf, err := o.TLS.Config()
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Conns == 0 {
		o.Conns = defaultConns
	}
	// To connect takes at most half the time: so a host that cannot be reached
	// is told from one that does not answer.
	dialer := &net.Dialer{Timeout: o.Timeout / 2, Resolver: o.Resolver}
	if o.Guard != nil {
		dialer.Control = o.Guard.control
	}
	dial := dialer.DialContext
	if o.Unix != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", o.Unix)
		}
	}
	t := &http.Transport{
		Proxy:                  nil, // whatever the environment says
		DialContext:            dial,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    o.Timeout / 2,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxConnsPerHost:        o.Conns,
		MaxIdleConnsPerHost:    o.Conns,
		MaxIdleConns:           max(maxIdle, o.Conns),
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
	c := &http.Client{Transport: t, Timeout: o.Timeout, CheckRedirect: noRedirect}
	if o.Guard != nil {
		c.Transport = &guarded{Transport: t, guard: o.Guard}
	}
	return c, nil
}

// noRedirect makes an answer that points elsewhere an answer like others.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// guarded is a transport that asks before each request.
type guarded struct {
	*http.Transport
	guard *Guard
}

// RoundTrip implements http.RoundTripper.
func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.guard.allow(req.URL); err != nil {
		closeBody(req)
		return nil, err
	}
	if req.Host != "" && req.Host != req.URL.Host {
		closeBody(req)
		return nil, errors.New("the request names another host than its URL")
	}
	return g.Transport.RoundTrip(req)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
