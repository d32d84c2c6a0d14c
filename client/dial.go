package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// dialer opens WebSockets.
type dialer struct {
	ws  websocket.Dialer
	url string
}

// Buffers of all connections. Pools are caches, not state.
var (
	deviceWrites = new(sync.Pool)
	relayWrites  = new(sync.Pool)
	messages     = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}
)

// Sizes in bytes. A device's connection is mostly idle, so its own read buffer
// is small and its write buffer is borrowed.
const (
	deviceRead  = 256
	deviceWrite = 1 << 10
	relayRead   = 4 << 10
	relayWrite  = 32 << 10
	keepMessage = 128 << 10 // greater buffers are not put back
)

func newDialer(cfg *Config, base *url.URL, p *url.URL) dialer {
	ws := *base
	ws.Scheme = map[string]string{"http": "ws", "https": "wss"}[base.Scheme]
	d := dialer{url: ws.String() + wire.PathWebSocket, ws: websocket.Dialer{
		NetDialContext:   through(p, plainDial(cfg)),
		TLSClientConfig:  cfg.TLS, // cloned by the dialer
		HandshakeTimeout: dialTimeout,
		Subprotocols:     []string{wire.Subprotocol},
		ReadBufferSize:   deviceRead, WriteBufferSize: deviceWrite, WriteBufferPool: deviceWrites,
	}}
	if cfg.Relay != "" {
		d.ws.ReadBufferSize, d.ws.WriteBufferSize, d.ws.WriteBufferPool = relayRead, relayWrite, relayWrites
	}
	return d
}

// plainDial is how TCP connections are made, to upstream or to a proxy.
func plainDial(cfg *Config) dialFunc {
	dial := cfg.Dial
	if dial == nil {
		// No keep-alive of TCP, whose probes would wake a radio every 15 s: who
		// is connected to pings, and calls have their times.
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: -1}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, fault(ReasonDial, "%w", err)
		}
		return conn, nil
	}
}

// open connects and says hello. The caller serves the socket.
func (d *dialer) open(ctx context.Context, c *Client) (*socket, error) {
	header := make(http.Header)
	if token := c.shown(); token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	conn, resp, err := d.ws.DialContext(ctx, d.url, header) //nolint:bodyclose // the body is in memory
	if err != nil {
		return nil, handshakeFault(resp, err)
	}
	conn.SetReadLimit(maxAnswer)
	s := &socket{c: c, conn: conn, opened: time.Now(), ended: make(chan struct{})}
	if conn.Subprotocol() != wire.Subprotocol {
		conn.Close()
		return nil, fault(ReasonProtocol, "what answers at %s does not speak %s", c.base.Host, wire.Subprotocol)
	}
	if err := s.greet(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// handshakeFault tells what was there instead of a WebSocket.
func handshakeFault(resp *http.Response, err error) error {
	if resp == nil {
		if ReasonOf(err) == "" && errors.Is(err, context.DeadlineExceeded) {
			return fault(ReasonUpgrade, "the upgrade was not answered: %w", err)
		}
		return netFault(err, ReasonUpgrade)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return fault(ReasonUpgrade, "something on the way spoils the upgrade: %w", err)
	}
	err = answerFault(resp)
	if ReasonOf(err) == ReasonProtocol {
		return fault(ReasonUpgrade, "the upgrade was answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return err
}

// answerFault tells what an HTTP answer that is no success was.
func answerFault(resp *http.Response) error {
	kind := mediaType(resp.Header)
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return fault(ReasonRedirect, "%s answered %d, a redirect to %.*q; redirects are not followed",
			resp.Request.URL.Host, code, maxReasons, resp.Header.Get("Location"))
	case kind == "application/problem+json":
		return &Error{Reason: ReasonRefused, Err: wire.ReadProblem(resp)}
	case kind == "text/html" || kind == "application/xhtml+xml":
		return withRetry(resp, fault(ReasonHTML, "%s answered %d with a web page", resp.Request.URL.Host, code))
	default:
		return withRetry(resp, fault(ReasonProtocol, "%s answered %d %s", resp.Request.URL.Host, code, http.StatusText(code)))
	}
}

// withRetry keeps what a proxy said about when to come back.
func withRetry(resp *http.Response, err error) error {
	if s, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && s > 0 && s < 86400 {
		return &Error{Reason: ReasonOf(err), Err: edition.RetryAfter(err, time.Duration(s)*time.Second)}
	}
	return err
}

func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
