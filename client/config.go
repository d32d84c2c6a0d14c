package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Modes of a connection to upstream.
const (
	ModeAuto      = "auto"      // WebSocket, or polling while something refuses the upgrade
	ModeWebSocket = "websocket" // WebSocket only
	ModePoll      = "poll"      // polling only
)

// Transports, as State names them.
const (
	TransportWebSocket = "websocket"
	TransportPoll      = "poll"
)

// ProxyDirect as a Config's Proxy ignores the proxies of the environment.
const ProxyDirect = "direct"

// Defaults and limits. Times have no unit but their own.
const (
	DefaultWait      = 30 * time.Second
	DefaultHeartbeat = 45 * time.Second
	DefaultRetryMax  = 30 * time.Second

	retryMin       = 500 * time.Millisecond
	defaultRestart = 5 * time.Second  // of a 1012 that does not say when
	retryWebSocket = 10 * time.Minute // how long auto polls before it tries a WebSocket again
	dialTimeout    = 10 * time.Second // connection, TLS and upgrade
	helloTimeout   = 10 * time.Second
	writeTimeout   = 10 * time.Second
	callTimeout    = 15 * time.Second // a request over REST, beyond its wait

	maxAnswer  = 1 << 20 // bytes of one message or answer
	maxAgents  = 500     // agents in one hello: 105 bytes each, under wire.MaxMessage
	ackEvents  = 600     // events in one ack: at most 100 bytes each, under wire.MaxMessage
	maxReasons = 200     // bytes of a foreign text in an error
)

// Config of a Client. Only URL is required.
type Config struct {
	// URL of upstream, http or https; a path is kept as a prefix.
	URL string
	// Mode is one of the modes; empty means ModeAuto.
	Mode string
	// Wait is how long upstream may hold a poll, at most wire.MaxWait.
	// 0 asks and comes back after Interval; with Interval 0 too it is
	// DefaultWait.
	Wait time.Duration
	// Interval is the pause after a poll that brought nothing.
	Interval time.Duration
	// Proxy is a URL (http, https, socks5 or socks5h, with user:password if
	// the proxy wants them), ProxyDirect, or empty for what the environment
	// says. A proxy named here is used for loopback too. With SOCKS the
	// proxy resolves the names.
	Proxy string
	// TLS is used for https; nil means the system's roots.
	TLS *tls.Config
	// Dial replaces the dialer of plain TCP connections; for tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Agents say who a device is (UAID and Secret). Without Agents and Relay
	// the connection carries registrations only.
	Agents []wire.Agent
	// Relay is the name of a relay that Token, or a client certificate,
	// proves; see also Client.SetToken. StoreID and Custody go with its hello.
	Relay   string
	Token   string
	StoreID string
	Custody string

	// Bodies and Urgency are what a device asks for at first, see
	// Client.Want. A relay is told everything.
	Bodies  bool
	Urgency edition.Urgency

	// Update is called with each UPDATE, in order, on the connection's
	// goroutine (over REST a relay's Hello may bring one too): it must not
	// take long, and owns u until it returns. bodies is nil, or has what each
	// event carries; an event in a slot (see edition.AppID.IsSlot) always
	// carries something. done is to be called at any time after the acks for u
	// have been handed to Ack: a polling client asks for more only then.
	Update func(u edition.Update, bodies []*edition.Body, done func())
	// Connected, if not nil, is called when a connection is up and may be
	// used. It must not block.
	Connected func()
	// Refused, if not nil, is called with those of Agents that upstream does
	// not know or believe. It must not block.
	Refused func([]edition.UAID)
	// Gone, if not nil, is called with those routes of Agents, or of Relay,
	// that upstream says do not work any more. It must not block.
	Gone func([]wire.Gone)
	// Way, if not nil, is called with the IDs of upstream's store and of those
	// above it when upstream has told them. An error ends the connection.
	Way func([]string) error
	// Wake, if not nil, is called when upstream asks this relay to wake a
	// device. It must not block; the answer is given by Client.Woken.
	Wake func(wire.Wake)

	// Heartbeat is the silence after which upstream is pinged; after twice
	// that it is taken for dead. 0 means DefaultHeartbeat.
	Heartbeat time.Duration
	// RetryMax bounds the mean pause between two attempts to connect; 0
	// means DefaultRetryMax.
	RetryMax time.Duration

	Log     *slog.Logger // nil: silent
	Metrics *Metrics     // nil: nothing is counted

	safety time.Duration // how long to stay away when upstream has said that it wakes this device
}

// check fills the defaults in and parses the URL.
func (c *Config) check() (*url.URL, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: upstream URL: %w", edition.ErrConfig, err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: upstream URL %q is not like https://push.example.net", edition.ErrConfig, u.Redacted())
	}
	u.Path = strings.TrimRight(u.Path, "/")
	switch c.Mode {
	case "":
		c.Mode = ModeAuto
	case ModeAuto, ModeWebSocket, ModePoll:
	default:
		return nil, fmt.Errorf("%w: mode %q is none of auto, websocket, poll", edition.ErrConfig, c.Mode)
	}
	if c.Wait < 0 || c.Wait > wire.MaxWait || c.Interval < 0 {
		return nil, fmt.Errorf("%w: wait %v is not from 0s to %v, or interval %v is negative", edition.ErrConfig, c.Wait, wire.MaxWait, c.Interval)
	}
	if c.Wait == 0 && c.Interval == 0 {
		c.Wait = DefaultWait
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = DefaultHeartbeat
	}
	if c.RetryMax <= 0 {
		c.RetryMax = DefaultRetryMax
	}
	if c.safety <= 0 {
		c.safety = DefaultSafety
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Update == nil {
		c.Update = func(_ edition.Update, _ []*edition.Body, done func()) { done() }
	}
	return u, nil
}
