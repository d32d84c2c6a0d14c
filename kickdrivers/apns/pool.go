package apns

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/edition-push/edition/kickdrivers/outbound"
)

const (
	// pingAfter is how long a connection may be silent before it is asked
	// whether it is alive, pingTimeout how long it may take to answer.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	maxHeader   = 16 << 10 // bytes of an answer's header
)

// pool is a fixed number of HTTP/2 connections to one host. Each is made when
// it is first used, kept for good, as Apple asks, and replaced when it is lost
// or the other end says goodbye. When all streams are taken a request waits:
// there is never one connection more.
type pool struct {
	lines []line
	turn  atomic.Uint32
}

// line is one connection: a transport that may have no second one.
type line struct {
	transport *http.Transport
	busy      atomic.Int32 // requests under way
}

func newPool(n int, conf *tls.Config) *pool {
	p := &pool{lines: make([]line, n)}
	for i := range p.lines {
		p.lines[i].transport = newTransport(conf.Clone())
	}
	return p
}

func newTransport(conf *tls.Config) *http.Transport {
	only := new(http.Protocols)
	only.SetHTTP2(true)
	dialer := &net.Dialer{}
	return &http.Transport{
		Proxy: nil, // whatever the environment says
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", outbound.ErrConnect, err)
			}
			return c, nil
		},
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    10 * time.Second,
		Protocols:              only,
		DisableCompression:     true,
		MaxConnsPerHost:        1,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			StrictMaxConcurrentRequests: true,
			SendPingTimeout:             pingAfter,
			PingTimeout:                 pingTimeout,
			WriteByteTimeout:            pingTimeout,
		},
	}
}

// take returns the connection with the fewest requests under way, beginning
// with another one each time, so that one that has died without a word is
// avoided until its ping finds it out. It counts as one more until it is given
// back.
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

func (l *line) giveBack() { l.busy.Add(-1) }

func (p *pool) close() {
	for i := range p.lines {
		p.lines[i].transport.CloseIdleConnections()
	}
}
