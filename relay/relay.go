package relay

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Upstream is a server, or another relay, that this relay is a client of.
// Fields without a comment are those of client.Config.
type Upstream struct {
	// Name is what this relay calls it; devices' registrations remember it.
	Name string
	// Relay is what upstream calls this relay; empty: Options.Name.
	Relay string
	// Kick, if not nil, tells upstream how to wake this relay.
	Kick json.RawMessage

	URL      string
	Mode     string
	Wait     time.Duration
	Interval time.Duration
	Proxy    string
	TLS      *tls.Config
	Token    string
	Custody  string
	RetryMax time.Duration // 0: DefaultRetryMax
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
}

// DefaultRetryMax bounds the mean pause between two attempts to connect.
// Relays are few, and many devices wait for one.
const DefaultRetryMax = 5 * time.Second

// Options of a Relay.
type Options struct {
	Name      string     // by which upstreams know this relay, unless they say otherwise
	Upstreams []Upstream // at least one; the first is for devices that name none
	Store     edition.Store
	// Deliver has events kept: hub.Hub.Deliver.
	Deliver func(edition.Update, edition.Delivery) *edition.Receipt
	// Below reports whether a relay with a store of this ID is connected to
	// this one. nil: none is.
	Below func(store string) bool
	// Wake wakes a device, or uses a route, that an upstream names, with this
	// relay's own drivers, and says what came of it. It may take as long as
	// ctx lives. nil: an upstream is refused that.
	Wake    func(ctx context.Context, req wire.WakeRequest) wire.WakeResult
	Log     *slog.Logger          // nil: silent
	Metrics prometheus.Registerer // nil: counted, not shown
}

// Relay is the upstream side of a relay, and its edition.Registrar. Make one
// with New, call Run.
type Relay struct {
	// Fixed after construction.
	store   edition.Store
	deliver func(edition.Update, edition.Delivery) *edition.Receipt
	wake    func(context.Context, wire.WakeRequest) wire.WakeResult
	below   func(string) bool
	log     *slog.Logger
	ups     []*upstream
	holds   *holds
}

// New checks the configuration (edition.ErrConfig) and connects to nothing.
func New(o Options) (*Relay, error) {
	r := &Relay{store: o.Store, deliver: o.Deliver, wake: o.Wake, below: o.Below, log: o.Log, holds: newHolds()}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" || len(o.Upstreams) == 0 {
		return nil, fmt.Errorf("%w: a relay needs a name and an upstream", edition.ErrConfig)
	}
	for _, c := range o.Upstreams {
		if c.Name == "" || r.named(c.Name) != nil {
			return nil, fmt.Errorf("%w: upstreams need a name each, and %q is not one", edition.ErrConfig, c.Name)
		}
		u, err := newUpstream(r, o.Name, c, o.Metrics)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", c.Name, err)
		}
		r.ups = append(r.ups, u)
	}
	return r, nil
}

// Run keeps the relay connected to its upstreams until ctx ends, then returns
// nil.
func (r *Relay) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, u := range r.ups {
		g.Go(func() error { return u.run(ctx) })
	}
	return g.Wait()
}

// SetToken has the next connection to an upstream show another token. The one
// that there is stays. An upstream that there is not is left out.
func (r *Relay) SetToken(upstream, token string) {
	if u := r.named(upstream); u != nil {
		u.client.SetToken(token)
	}
}

// Delivered is a doorbell: devices have acknowledged something. It does not
// block.
func (r *Relay) Delivered() {
	for _, u := range r.ups {
		ring(u.reports)
	}
}

// State is how one upstream is connected, for /readyz.
type State struct {
	Name      string    `json:"name"`
	Host      string    `json:"host"`
	Connected bool      `json:"connected"`
	Transport string    `json:"transport,omitempty"`
	Custody   string    `json:"custody,omitempty"`
	Since     time.Time `json:"since"`
	Error     string    `json:"error,omitempty"` // why it is not connected
}

// Upstreams returns the state of each upstream.
func (r *Relay) Upstreams() []State {
	list := make([]State, len(r.ups))
	for i, u := range r.ups {
		s := u.client.State()
		list[i] = State{
			Name: u.name, Host: u.client.Host(), Connected: s.Connected,
			Transport: s.Transport, Custody: s.Custody, Since: s.Since,
		}
		if s.Err != nil && !s.Connected {
			list[i].Error = s.Err.Error()
		}
	}
	return list
}

func (r *Relay) named(name string) *upstream {
	for _, u := range r.ups {
		if u.name == name {
			return u
		}
	}
	return nil
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
