package wakeup

import (
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Global says which networks a global node serves.
type Global struct {
	Networks []Network
	// CheckEvery is how often the local nodes are asked whether they are
	// there; 0 is 3 minutes.
	CheckEvery time.Duration
	// Timeout bounds one request to a local node; 0 is 5 seconds. Parallel is
	// how many are under way at once to one network's node; 0 is 256.
	Timeout  time.Duration
	Parallel int
	TLS      outbound.TLS // towards local nodes
}

// Network is one of a carrier's networks, and the local node inside it.
type Network struct {
	// NetID is how a caller names it; empty is "MCC-MNC.default".
	NetID string
	// MCC and MNC are its country and network codes (ITU-T E.212).
	MCC, MNC string
	// Host is the URL of its local node, without a path; empty: this node
	// itself is inside, see Options.Driver.
	Host      string
	Ranges    []netip.Prefix // of the devices' addresses
	Protocols []string       // "udp", "tcp"; none: both
	Offline   bool           // taken out by the operator
}

const (
	defaultCheck    = 3 * time.Minute
	defaultTimeout  = 5 * time.Second
	defaultParallel = 256
	checkParallel   = 16
	maxAnswer       = 1 << 10
)

// global is the table of networks.
type global struct {
	// Fixed after construction.
	networks []*network
	every    time.Duration
	client   *http.Client
	m        *metrics
}

type network struct {
	// Fixed after construction.
	Network
	places chan struct{} // one for each request under way to the local node

	down atomic.Bool // the last check said so
}

func newGlobal(o Global, m *metrics) (*global, error) {
	g := &global{every: o.CheckEvery, m: m}
	if g.every == 0 {
		g.every = defaultCheck
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Parallel == 0 {
		o.Parallel = defaultParallel
	}
	var err error
	if g.client, err = outbound.New(outbound.Options{TLS: o.TLS, Timeout: o.Timeout, Conns: o.Parallel}); err != nil {
		return nil, err
	}
	for _, n := range o.Networks {
		if n.NetID == "" {
			n.NetID = n.codes() + ".default"
		}
		n.Host = strings.TrimSuffix(n.Host, "/")
		g.networks = append(g.networks, &network{Network: n, places: make(chan struct{}, o.Parallel)})
		m.online(n.NetID, !n.Offline)
	}
	return g, nil
}
