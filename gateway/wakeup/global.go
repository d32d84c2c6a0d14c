package wakeup

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

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

// codes is the network's name as netinfo has it.
func (n Network) codes() string {
	if n.MCC == "" {
		return ""
	}
	return n.MCC + "-" + n.MNC
}

func (n *network) offline() bool { return n.Offline || n.down.Load() }

// find returns the network that a caller names: by netid; by mcc and mnc,
// which stand for the netid "mcc-mnc.default", else for the network of these
// codes that has the address; or by all three, where netid is only the part
// behind the codes.
func (g *global) find(netid, mcc, mnc string, ip netip.Addr) *network {
	codes := mcc + "-" + mnc
	names := []string{codes + ".default", codes}
	if netid != "" {
		names = []string{netid, codes + "." + netid}
	}
	for _, name := range names {
		if n := g.named(name); n != nil {
			return n
		}
	}
	if netid != "" {
		return nil
	}
	var found *network
	for _, n := range g.networks {
		if n.codes() == codes && (found == nil || within(n.Ranges, ip) && !within(found.Ranges, ip)) {
			found = n
		}
	}
	return found
}

func (g *global) named(netid string) *network {
	if i := slices.IndexFunc(g.networks, func(n *network) bool { return n.NetID == netid }); i >= 0 {
		return g.networks[i]
	}
	return nil
}

// netInfo is a network as GET /netinfo/v1 lists it.
type netInfo struct {
	NetID     string   `json:"netid"`
	Codes     string   `json:"mccmnc"`
	Range     any      `json:"range"` // a text, or a list of several
	Protocols []string `json:"protocols,omitempty"`
	Offline   bool     `json:"offline"`
}

func (g *global) info() []netInfo {
	list := make([]netInfo, len(g.networks))
	for i, n := range g.networks {
		list[i] = netInfo{NetID: n.NetID, Codes: n.codes(), Range: n.Ranges, Protocols: n.Protocols, Offline: n.offline()}
		if len(n.Ranges) == 1 {
			list[i].Range = n.Ranges[0].String()
		}
	}
	return list
}

// wakeGlobal finds the local node of a device and hands the request on.
func (n *Node) wakeGlobal(q *request) answer {
	form, refused := q.form()
	if form == nil {
		return refused
	}
	t, err := parseTarget(form)
	if err != nil {
		return bad(err.Error())
	}
	netid, mcc, mnc := form.Get("netid"), form.Get("mcc"), form.Get("mnc")
	if netid == "" && (mcc == "" || mnc == "") {
		return bad("neither netid nor mcc and mnc")
	}
	to := n.global.find(netid, mcc, mnc, t.ip)
	switch {
	case to == nil:
		return answer{status: http.StatusNotFound, text: "No such network"}
	case !within(to.Ranges, t.ip):
		return bad(fmt.Sprintf("%s lies outside the range of network %s", t.ip, to.NetID))
	case to.offline():
		return unavailable("Network "+to.NetID+" is offline", n.global.every)
	case t.proto == "" && len(to.Protocols) > 0:
		t.proto = to.Protocols[0]
	case t.proto != "" && len(to.Protocols) > 0 && !slices.Contains(to.Protocols, t.proto):
		return bad("network " + to.NetID + " does not take " + t.proto)
	}
	if to.Host == "" {
		return n.send(q, t)
	}
	return n.forward(q, to, t)
}

// forward hands a request to a local node, and does not wait for its answer.
func (n *Node) forward(q *request, to *network, t target) answer {
	select {
	case to.places <- struct{}{}:
	default:
		n.global.m.forward(to.NetID, "full")
		return unavailable("Network "+to.NetID+" is busy", time.Second)
	}
	header := q.onward(n.access)
	tracking := q.tracking
	if !n.fly(func() {
		defer func() { <-to.places }()
		status, err := n.global.wake(n.base, to, t, header)
		result := "accepted"
		switch {
		case err != nil:
			result = "failed"
		case status != http.StatusOK:
			result = "refused"
		}
		n.global.m.forward(to.NetID, result)
		n.log.Debug("handed to a local node", "netid", to.NetID, "tracking_id", tracking, "status", status, "err", err)
	}) {
		<-to.places
		return unavailable("Shutting down", 0)
	}
	return taken
}

// onward is what a local node is told about the caller. It takes requests only
// from those whose certificate was verified: that is this node's word.
func (q *request) onward(a Access) http.Header {
	from := remote(q.Request)
	real, via := from.String(), q.Header.Get("X-Forwarded-For")
	if within(a.Proxies, from) && q.Header.Get("X-Real-IP") != "" {
		real = q.Header.Get("X-Real-IP")
	}
	if via != "" {
		via += ", "
	}
	h := http.Header{}
	h.Set("X-Tracking-ID", q.tracking)
	h.Set("X-Real-IP", real)
	h.Set("X-Forwarded-For", via+from.String())
	h.Set("X-Client-Cert-Verified", "SUCCESS")
	h.Set("X-Client-Cert-DN", q.cert)
	return h
}

// wake calls a local node. By GET: not every one takes POST.
func (g *global) wake(ctx context.Context, to *network, t target, header http.Header) (status int, err error) {
	form := url.Values{"ip": {t.ip.String()}, "port": {strconv.Itoa(int(t.port))}}
	if t.proto != "" {
		form.Set("proto", t.proto)
	}
	if t.confirm != "" {
		form.Set("confirm", t.confirm)
	}
	return g.get(ctx, to.Host+pathLocal+"?"+form.Encode(), header)
}

func (g *global) get(ctx context.Context, at string, header http.Header) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	req.Header = header
	a, err := outbound.Do(g.client, req, maxAnswer)
	if err != nil {
		return 0, err
	}
	return a.Status, nil
}

// watch checks the local nodes until ctx ends.
func (g *global) watch(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(g.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		g.checkAll(ctx, log)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// checkAll asks each local node once, also one that serves several networks.
func (g *global) checkAll(ctx context.Context, log *slog.Logger) {
	hosts := make(map[string][]*network)
	for _, n := range g.networks {
		if n.Host != "" {
			hosts[n.Host] = append(hosts[n.Host], n)
		}
	}
	var checks errgroup.Group
	checks.SetLimit(checkParallel)
	for host, nets := range hosts {
		checks.Go(func() error {
			status, err := g.get(ctx, host+pathStatus, http.Header{
				"X-Client-Cert-Verified": {"SUCCESS"}, "X-Client-Cert-Dn": {"CN=edition"}, "X-Real-Ip": {"0.0.0.0"},
			})
			if ctx.Err() != nil {
				return nil
			}
			for _, n := range nets {
				down := err != nil || status != http.StatusOK
				if n.down.Swap(down) != down {
					log.Info("a local node changed its state", "netid", n.NetID, "online", !down, "status", status, "err", err)
				}
				g.m.online(n.NetID, !n.offline())
			}
			return nil
		})
	}
	checks.Wait() //nolint:errcheck // none returns one
}
