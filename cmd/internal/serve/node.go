package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/httpconn"
	"github.com/edition-push/edition/store/bolt"
)

// Options say how a role speaks to its surroundings.
type Options struct {
	Out   io.Writer    // what a reader is told at the start; nil: nobody
	Log   *slog.Logger // nil: as configured, to standard error
	Ready func(Addrs)  // called once, when requests are answered; may be nil
	// Reload is how the configuration is read again; the zero Reload never is.
	Reload Reload
}

// Addrs are the URLs of a running role, as bound.
type Addrs struct {
	URL     string // of the device door, as this machine reaches it
	Admin   string
	Gateway string // empty: not configured
	Wakeup  string // empty: not configured
}

// Store is an [edition.Store] in a file.
type Store interface {
	edition.Store
	// Run commits until ctx ends, or returns what makes that impossible.
	Run(ctx context.Context) error
	// Close is called when Run has returned.
	Close() error
}

// Node is a role's ground: folder, store and listeners, opened. Make one with
// Open; Serve it or Close it.
type Node struct {
	// Fixed after construction.
	Addrs
	Store   Store
	Metrics *prometheus.Registry
	Log     *slog.Logger
	Out     io.Writer
	role    string
	cfg     configs.Node
	ready   func(Addrs)
	reload  Reload
	door    net.Listener
	private net.Listener
	certs   *certs // of the door
	gateway sideDoor
	wakeup  sideDoor
	level   *slog.LevelVar // of Log; nil when it is somebody else's

	draining atomic.Bool
}

// Open makes the data folder, opens both listeners and the store. Errors wrap
// edition.ErrConfig, ErrListen, ErrDamaged or ErrLocked and say what to do.
func Open(ctx context.Context, role string, cfg configs.Node, o Options) (_ *Node, err error) {
	n := &Node{role: role, cfg: cfg, Log: o.Log, Out: o.Out, ready: o.Ready, reload: o.Reload, Metrics: newRegistry()}
	if n.Log == nil {
		n.level = new(slog.LevelVar)
		n.Log = NewLog(os.Stderr, cfg.Log, n.level)
	}
	if n.Out == nil {
		n.Out = io.Discard
	}
	defer func() {
		if err != nil {
			n.closeListeners()
		}
	}()
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("%w: data: %w; choose a folder that can be written with --data", edition.ErrConfig, err)
	}
	if n.door, err = listen(ctx, cfg.Listen, "listen"); err != nil {
		return nil, err
	}
	if n.private, err = listen(ctx, cfg.Admin, "admin"); err != nil {
		return nil, err
	}
	if n.gateway, err = openSide(ctx, cfg.Gateway.Listen, "gateway", cfg.Gateway.TLS); err != nil {
		return nil, err
	}
	if n.wakeup, err = openSide(ctx, cfg.Wakeup.Listen, "wakeup", cfg.Wakeup.TLS); err != nil {
		return nil, err
	}
	n.Addrs = Addrs{URL: urlOf(n.door, cfg.TLS), Admin: urlOf(n.private, configs.TLS{}), Gateway: n.gateway.url, Wakeup: n.wakeup.url}
	if n.certs, err = newCerts(cfg.TLS); err != nil {
		return nil, err
	}
	n.door = n.certs.secure(httpconn.Listen(n.door))
	store, err := bolt.Open(bolt.Options{
		Path:            cfg.DataFile(role),
		Sync:            cfg.Store.Sync,
		Interval:        cfg.Store.Interval,
		TTL:             cfg.Store.TTL,
		RegistrationTTL: cfg.Store.RegistrationTTL,
		SweepEvery:      cfg.Store.SweepEvery,
		MemoryRows:      cfg.Store.MemoryRows,
		JournalBytes:    cfg.Store.JournalBytes,
		DeviceMessages:  cfg.Store.DeviceMessages,
		DeviceBytes:     cfg.Store.DeviceBytes,
		Messages:        cfg.Store.Messages,
		MessageBytes:    cfg.Store.MessageBytes,
		Log:             n.Log,
		Metrics:         n.Metrics,
	})
	if errors.Is(err, edition.ErrLocked) {
		err = fmt.Errorf("%w: stop it, or choose another folder with --data", err)
	}
	if err != nil {
		return nil, err
	}
	n.Store = store
	return n, nil
}

// Close gives up what Open took, when Serve was not reached.
func (n *Node) Close() error {
	n.closeListeners()
	return n.Store.Close()
}

func (n *Node) closeListeners() {
	for _, l := range []net.Listener{n.door, n.private, n.gateway.Listener, n.wakeup.Listener} {
		if l != nil {
			l.Close()
		}
	}
}

// Everywhere reports whether the device door is on all addresses, so that URL
// is only one of its names.
func (n *Node) Everywhere() bool {
	at, ok := n.door.Addr().(*net.TCPAddr)
	return ok && at.IP.IsUnspecified()
}

// Say tells the reader at the terminal something.
func (n *Node) Say(format string, args ...any) {
	fmt.Fprintf(n.Out, format+"\n", args...) //nolint:errcheck // a closed terminal is no reason to stop
}

// NewLog makes the configured logger; level is set to what is configured, and
// may be changed later.
func NewLog(w io.Writer, c configs.Log, level *slog.LevelVar) *slog.Logger {
	level.Set(levelOf(c))
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func levelOf(c configs.Log) (l slog.Level) {
	if err := l.UnmarshalText([]byte(c.Level)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// ignoreClosed is nil for the error of a server that was shut down.
func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
