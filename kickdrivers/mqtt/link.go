package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edition-push/edition"
)

// link is the connection to the broker, which is made again whenever it is
// lost.
type link struct {
	// Fixed after construction.
	manager *autopaho.ConnectionManager
	address string
	tls     *tls.Config // nil: plain
	timeout time.Duration
	log     *slog.Logger
	cancel  context.CancelFunc
	tried   chan struct{} // closed after the first attempt to connect

	once sync.Once // closes tried

	mu    sync.Mutex
	now   *session // Guarded by mu; nil: not connected.
	why   error    // Guarded by mu: why there is no connection.
	quiet bool     // Guarded by mu: the operator has been told so.
}

// session is one connection, from the broker's welcome until it is lost.
type session struct {
	limits
	lost chan struct{} // closed
}

// limits are those of the broker (MQTT 5, section 3.2.2.3). Its receive
// maximum is kept by the library: a message waits until another is answered.
type limits struct {
	qos    byte
	packet int // bytes of the greatest packet; 0: no limit
}

const (
	retryMin = time.Second
	retryMax = time.Minute
	// receiveMaximum and maxPacket bound what the broker may send here, where
	// nothing is subscribed to.
	receiveMaximum = 8
	maxPacket      = 64 << 10
)

// newLink begins to connect.
func newLink(c Config, made compiled, log *slog.Logger) (*link, error) {
	l := &link{
		address: made.address, tls: made.tls, timeout: c.Timeout, log: log, tried: make(chan struct{}),
		why: errors.New("not connected yet"),
	}
	conf := autopaho.ClientConfig{
		ServerUrls:           []*url.URL{made.url},
		KeepAlive:            uint16(c.KeepAlive / time.Second),
		ReconnectBackoff:     backoff(),
		ConnectTimeout:       c.Timeout,
		ConnectUsername:      c.Username,
		ConnectPassword:      made.password,
		AttemptConnection:    l.dial,
		ConnectPacketBuilder: connectPacket,
		OnConnectionUp:       l.connected,
		OnConnectionDown:     l.lost,
		OnConnectError:       l.failed,
		ClientConfig: paho.ClientConfig{
			ClientID:           made.clientID,
			PacketTimeout:      c.Timeout,
			OnClientError:      l.broken,
			OnServerDisconnect: l.disconnected,
		},
	}
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	var err error
	l.manager, err = autopaho.NewConnection(ctx, conf)
	if err != nil {
		l.cancel()
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, err)
	}
	return l, nil
}

// connectPacket asks for a session that ends with the connection: a kick that
// was under way is told as failed and repeated by the dispatcher, not by the
// session.
func connectPacket(p *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	expiry, receive, packet := uint32(0), uint16(receiveMaximum), uint32(maxPacket)
	p.CleanStart = true
	p.Properties = &paho.ConnectProperties{
		SessionExpiryInterval: &expiry, ReceiveMaximum: &receive, MaximumPacketSize: &packet, RequestProblemInfo: true,
	}
	return p, nil
}

// backoff is how long the library waits before attempt n to connect: not at
// all before the first of all, but after a connection that was lost at least
// retryMin: the broker may be one that takes everybody and throws them out.
func backoff() func(n int) time.Duration {
	first := true // used by the library's one goroutine that connects
	return func(n int) time.Duration {
		if first {
			first = false
			return 0
		}
		d := min(retryMin<<min(n, 10), retryMax)
		return d - d/5 + rand.N(2*d/5)
	}
}

// dial opens a connection whose writes do not block for ever.
func (l *link) dial(ctx context.Context, _ autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var c net.Conn
	var err error
	if l.tls == nil {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", l.address)
	} else {
		c, err = (&tls.Dialer{Config: l.tls}).DialContext(ctx, "tcp", l.address)
	}
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, timeout: l.timeout}, nil
}

// conn is a connection that the library locks while it writes a packet.
type conn struct {
	net.Conn
	sync.Mutex
	timeout time.Duration
}

// Write fails when the broker does not read for too long.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (l *link) connected(_ *autopaho.ConnectionManager, ack *paho.Connack) {
	got := limits{qos: 1}
	if p := ack.Properties; p != nil {
		if p.MaximumQoS != nil {
			got.qos = *p.MaximumQoS
		}
		if p.MaximumPacketSize != nil {
			got.packet = int(*p.MaximumPacketSize)
		}
	}
	l.mu.Lock()
	l.now, l.quiet = &session{limits: got, lost: make(chan struct{})}, false
	l.mu.Unlock()
	l.log.Info("connected to the broker", "address", l.address, "max_qos", got.qos)
	l.once.Do(func() { close(l.tried) })
}

// lost tells the library to connect again, and those who wait for an answer
// that none will come: the library does not.
func (l *link) lost() bool {
	l.mu.Lock()
	close(l.now.lost)
	l.now = nil
	l.mu.Unlock()
	return true
}

// failed is told why an attempt to connect has failed. The first of a row is
// a warning.
func (l *link) failed(err error) {
	err = plain(err)
	l.mu.Lock()
	level := slog.LevelWarn
	if l.quiet {
		level = slog.LevelDebug
	}
	l.quiet = true
	l.why = err
	l.mu.Unlock()
	l.log.Log(context.Background(), level, "the broker cannot be connected to", "address", l.address, "err", err)
	l.once.Do(func() { close(l.tried) })
}

// broken is told why a connection has ended.
func (l *link) broken(err error) { l.reason(plain(err)) }

// disconnected is told that the broker has ended the connection.
func (l *link) disconnected(p *paho.Disconnect) {
	l.reason(fmt.Errorf("the broker disconnected with %#02x", p.ReasonCode))
}

func (l *link) reason(err error) {
	l.mu.Lock()
	l.why = err
	l.mu.Unlock()
	l.log.Warn("the broker's connection was lost", "address", l.address, "err", err)
}

// maxError bounds the text of an error: it may quote what the broker sent.
const maxError = 200

// plain is an error without the URL, which the caller knows, and not too long.
func plain(err error) error {
	if refused := (*autopaho.ConnackError)(nil); errors.As(err, &refused) {
		err = fmt.Errorf("it refuses this client with %#02x", refused.ReasonCode)
		if refused.Reason != "" {
			err = fmt.Errorf("%w: %q", err, refused.Reason)
		}
	} else if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "failed to connect to ") {
		err = inner
	}
	if text := err.Error(); len(text) > maxError {
		return errors.New(strings.ToValidUTF8(text[:maxError], "") + "…")
	}
	return err
}

// await returns the connection. Only before the first attempt to connect has
// ended does it wait for one.
func (l *link) await(ctx context.Context) (*session, error) {
	select {
	case <-l.tried:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the broker does not answer", edition.ErrUnavailable)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		return nil, fmt.Errorf("%w: the broker is not connected: %w", edition.ErrUnavailable, l.why)
	}
	return l.now, nil
}

// close disconnects. It does not wait for a broker that does not read.
func (l *link) close() error {
	ctx, stop := context.WithTimeout(context.Background(), 2*l.timeout)
	defer stop()
	err := l.manager.Disconnect(ctx)
	l.cancel()
	return err
}
