package client

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Client is one party's connection to one upstream, made again whenever it
// ends. Make one with New and call Run; the other methods work while it is
// connected and say edition.ErrUnavailable at once while it is not.
type Client struct {
	// Fixed after construction.
	cfg  Config
	base *url.URL
	rest *rest
	dial dialer

	woken chan struct{} // doorbell of Run: do not stay away any longer

	// Owned by Run.
	pollUntil time.Time // until then ModeAuto does not try a WebSocket
	pace      pacer     // of attempts to connect that Wake asks for

	mu     sync.Mutex
	link   link         // Guarded by mu; nil while not connected
	agents []wire.Agent // Guarded by mu; who the next hello names
	want   want         // Guarded by mu; what the next hello asks for
	token  string       // Guarded by mu; what the next connection or request shows
	state  State        // Guarded by mu
}

// link is a connection as one transport makes it.
type link interface {
	hello(ctx context.Context, agents []wire.Agent) (accepted, refused []edition.UAID, err error)
	call(ctx context.Context, m *wire.Message) (*wire.Message, error)
	ack(kind ackKind, u edition.Update) error
	barrier(ctx context.Context) error
	woken(a wire.Woken) error
	ask(w want) error
}

// ackKind is what is reported about events.
type ackKind uint8

const (
	ackDelivered ackKind = iota
	ackStored
	ackRefuse
	ackKinds
)

// State is how a client is connected, for people.
type State struct {
	Connected bool
	Asleep    bool      // upstream has said that it wakes this device
	Transport string    // of the last connection
	Custody   string    // that upstream granted to a relay
	Since     time.Time // when Connected last changed
	Err       error     // why the last one before this ended or could not be made
}

// New checks the configuration (edition.ErrConfig) and makes no connection.
func New(cfg Config) (*Client, error) {
	base, err := cfg.check()
	if err != nil {
		return nil, err
	}
	p, err := proxyFor(cfg.Proxy, base)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base, woken: make(chan struct{}, 1), agents: slices.Clone(cfg.Agents), state: State{Since: time.Now()}}
	c.want = want{bodies: cfg.Bodies, urgency: cfg.Urgency}
	c.token = cfg.Token
	c.rest = newRest(&c.cfg, base, p, c.shown)
	c.dial = newDialer(&c.cfg, base, p)
	return c, nil
}

// Run keeps the client connected until ctx ends, then returns nil.
func (c *Client) Run(ctx context.Context) error {
	defer c.rest.close()
	pauses := newRetry(c.cfg.RetryMax)
	for {
		gap := c.pace.wait(time.Now())
		err := c.connect(ctx)
		if err == errTryWebSocket { //nolint:errorlint // the very value
			c.down(nil)
			continue
		}
		lived := c.down(err)
		if ctx.Err() != nil {
			return nil
		}
		pause := pauses.next(err, lived)
		if ReasonOf(err) == ReasonIdle {
			pauses.exp.Reset()
			pause = spread(c.cfg.safety)
			c.cfg.Log.Debug("asleep until upstream wakes this device", "host", c.base.Host)
		} else {
			c.cfg.Metrics.fault(err)
			c.cfg.Log.Info("no connection to upstream", "host", c.base.Host,
				"reason", string(ReasonOf(err)), "err", err, "retry_in", pause.Round(time.Millisecond))
		}
		if c.stayAway(ctx, err, pause, gap); ctx.Err() != nil {
			return nil
		}
	}
}

// stayAway waits for a pause, or until Wake, but no less than gap. When upstream
// has named the time it is kept. A Wake from before the pause counts only where
// upstream closed because it would wake this device, and may have done so since.
func (c *Client) stayAway(ctx context.Context, err error, pause, gap time.Duration) {
	if _, said := errors.AsType[*edition.RetryError](err); said {
		sleep(ctx, pause)
		return
	}
	if ReasonOf(err) != ReasonIdle {
		select {
		case <-c.woken:
		default:
		}
	}
	gap = min(gap, pause)
	sleep(ctx, gap)
	t := time.NewTimer(pause - gap)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-c.woken:
	case <-t.C:
	}
}

// Wake ends the pause between two connections, if Run is in one: upstream was
// heard of in another way. Calls that come often have an effect once a second.
func (c *Client) Wake() { ring(c.woken) }

// SetToken has the next connection show another token, and, where upstream is
// polled, the next request. A connection that there is stays; a pause between
// two of them ends.
func (c *Client) SetToken(token string) {
	c.mu.Lock()
	same := token == c.token
	c.token = token
	c.mu.Unlock()
	if !same {
		c.Wake()
	}
}

func (c *Client) shown() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// connect makes one connection and serves it to its end.
func (c *Client) connect(ctx context.Context) error {
	if c.cfg.Mode == ModePoll {
		return newPoll(c).serve(ctx)
	}
	auto := c.cfg.Mode == ModeAuto
	if auto && time.Now().Before(c.pollUntil) {
		return c.pollInstead(ctx)
	}
	s, err := c.open(ctx)
	if err == nil {
		return s.serve(ctx)
	}
	if !auto || !fallsBack(err) || ctx.Err() != nil {
		return err
	}
	c.cfg.Metrics.fault(err)
	c.cfg.Log.Info("no WebSocket to upstream, polling instead", "host", c.base.Host,
		"reason", string(ReasonOf(err)), "err", err)
	c.pollUntil = time.Now().Add(retryWebSocket)
	return c.pollInstead(ctx)
}

// open makes a WebSocket in a goroutine of its own: what that needs of stack is
// then not kept by the one that serves it, which is mostly idle.
func (c *Client) open(ctx context.Context) (s *socket, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, err = c.dial.open(ctx, c)
	}()
	<-done
	return s, err
}

// errTryWebSocket ends polling in ModeAuto now and then.
var errTryWebSocket = errors.New("time to try a WebSocket again")

func (c *Client) pollInstead(ctx context.Context) error {
	p := newPoll(c)
	until, cancel := context.WithDeadlineCause(ctx, c.pollUntil, errTryWebSocket)
	defer cancel()
	err := p.serve(until)
	switch {
	case ctx.Err() != nil:
		return err
	case context.Cause(until) == errTryWebSocket: //nolint:errorlint // the very value
		return errTryWebSocket
	case !p.answered:
		c.pollUntil = time.Time{} // it was not the WebSocket that failed
	}
	return err
}

// fallsBack reports whether polling may work where a WebSocket did not:
// something on the way answered, but not upstream itself.
func fallsBack(err error) bool {
	switch ReasonOf(err) {
	case ReasonUpgrade, ReasonProxy, ReasonRedirect, ReasonHTML, ReasonProtocol:
		return true
	}
	return false
}

// up makes l the connection that calls go to.
func (c *Client) up(l link, transport, custody string) {
	c.mu.Lock()
	c.link = l
	c.state = State{Connected: true, Transport: transport, Custody: custody, Since: time.Now(), Err: c.state.Err}
	c.mu.Unlock()
	c.cfg.Metrics.up(transport)
	c.cfg.Log.Debug("connected to upstream", "host", c.base.Host, "transport", transport)
	if c.cfg.Connected != nil {
		c.cfg.Connected()
	}
}

// down forgets the connection and returns how long it was up.
func (c *Client) down(err error) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.state.Err = err
	}
	if c.link == nil {
		return 0
	}
	c.link = nil
	lived := time.Since(c.state.Since)
	c.state.Connected, c.state.Since = false, time.Now()
	c.state.Asleep = ReasonOf(err) == ReasonIdle
	c.cfg.Metrics.down()
	return lived
}

func (c *Client) current() (link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		if c.state.Err != nil {
			return nil, &offline{c.state.Err}
		}
		return nil, errOffline
	}
	return c.link, nil
}

// offline is errOffline with the reason in its text. What upstream meant for
// the connection (a wrong token, say) is not what the caller is to be told.
type offline struct{ why error }

func (e *offline) Error() string { return errOffline.Error() + ": " + e.why.Error() }

func (e *offline) Unwrap() error { return errOffline }

// State returns how the client is connected.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Host returns upstream's host and port, for people.
func (c *Client) Host() string { return c.base.Host }

// known returns who the next hello or poll names.
func (c *Client) known() []wire.Agent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents
}
