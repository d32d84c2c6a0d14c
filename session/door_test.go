package session

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// door is a server under test, with its store, on a listener in memory or on
// loopback.
type door struct {
	*Server
	t     testing.TB
	timed bool // it has a clock of its own: that of synctest
	store edition.Store
	reg   *registrar
	url   string
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	http  *http.Client
	stop  context.CancelFunc // ends Run
	ended chan struct{}      // Run has ended
	serve *http.Server
}

// registrar is a server's own, without sealed endpoints.
type registrar struct {
	edition.Store

	mu      sync.Mutex
	present []edition.Agent
	claim   func(who []edition.Credential, owner edition.Owner) ([]edition.UAID, error)
	fail    error
}

func (r *registrar) Register(ctx context.Context, g edition.Registration) (string, error) {
	if r.fail != nil {
		return "", r.fail
	}
	return "https://push.example/v1/e/" + g.AppID.String(), r.Store.Register(ctx, g)
}

func (r *registrar) Claim(_ context.Context, who []edition.Credential, owner edition.Owner) ([]edition.UAID, error) {
	if r.claim == nil {
		return nil, nil
	}
	return r.claim(who, owner)
}

func (r *registrar) Present(who []edition.Agent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.present = append(r.present, who...)
}

const (
	relayToken = "the-token-of-relay-r1"
	otherToken = "the-token-of-relay-r2"
)

// checkKick takes kicks of the drivers udp, and sms, whose routes wait for a
// code.
func checkKick(kick json.RawMessage, from netip.Addr, size int) (routes edition.Routes, err error) {
	list := []json.RawMessage{kick}
	if kick[0] == '[' {
		if err := json.Unmarshal(kick, &list); err != nil {
			return nil, fmt.Errorf("%w: kick", edition.ErrMalformed)
		}
	}
	for _, one := range list {
		var k struct{ Driver, Number string }
		if err := json.Unmarshal(one, &k); err != nil {
			return nil, fmt.Errorf("%w: kick", edition.ErrMalformed)
		}
		switch k.Driver {
		case "udp":
			routes = append(routes, edition.Route{Driver: "udp", Target: fmt.Appendf(nil, `{"from":"%s","size":%d}`, from, size)})
		case "sms":
			routes = append(routes, edition.Route{Driver: "sms", Target: fmt.Appendf(nil, "%q", k.Number), Confirm: testCode})
		default:
			return nil, fmt.Errorf("%w: no driver of that name", edition.ErrForbidden)
		}
	}
	return routes, nil
}

const testCode = "ABCD2345"

func options(st edition.Store) Options {
	return Options{
		Hub: hub.New(hub.Options{Store: st}), Store: st, Registrar: &registrar{Store: st},
		Relays: []Relay{
			{Name: "r1", Tokens: []string{relayToken}},
			{Name: "r2", Tokens: []string{otherToken}, Custody: wire.CustodyRelay, CertName: "r2.example"},
		},
		CheckKick: checkKick, Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler),
	}
}

// unhurried are limits for tests on loopback, where nothing may depend on how
// long anything takes.
var unhurried = Limits{
	Hello: time.Hour, Ping: time.Hour, AckTimeout: time.Hour, AckTimeoutMax: time.Hour, Write: time.Hour,
}

// open starts a door on loopback.
func open(t testing.TB, adjust func(*Options)) *door {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openOn(t, l, new(net.Dialer).DialContext, func(o *Options) {
		o.Limits = unhurried
		if adjust != nil {
			adjust(o)
		}
	})
}

// openInMemory starts a door for a test with a clock of its own.
func openInMemory(t testing.TB, adjust func(*Options)) *door {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	d := openOn(t, l, l.dial, adjust)
	d.timed = true
	return d
}

func openOn(t testing.TB, l net.Listener, dial func(context.Context, string, string) (net.Conn, error), adjust func(*Options)) *door {
	o := options(mem.New(mem.Options{}))
	if adjust != nil {
		adjust(&o)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &door{
		Server: New(o), t: t, store: o.Store, url: "http://" + l.Addr().String(), dial: dial,
		http: &http.Client{Transport: &http.Transport{DialContext: dial}},
		stop: stop, ended: make(chan struct{}),
	}
	d.reg, _ = o.Registrar.(*registrar)
	d.serve = &http.Server{Handler: d.Server, ReadHeaderTimeout: time.Hour}
	go d.serve.Serve(l) // ends with Close
	go func() {
		defer close(d.ended)
		d.Run(ctx) // is nil
	}()
	t.Cleanup(d.close)
	return d
}

// close ends the door; no goroutine is left.
func (d *door) close() {
	d.stop()
	<-d.ended
	d.http.CloseIdleConnections()
	d.serve.Close() // nothing to do about it
}

// eventually waits for what happens by itself.
func (d *door) eventually(what string, is func() bool) {
	d.t.Helper()
	for end := time.Now().Add(patient); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatal("in vain:", what)
		}
	}
}

// settled returns when nothing is under way that nobody waits for: no flush, and
// no message of a relay that is worked on beside what follows it.
func (d *door) settled() {
	d.t.Helper()
	if d.timed {
		synctest.Wait()
		return
	}
	d.eventually("the server comes to rest", func() bool {
		for i := range wheelSlots {
			for _, c := range d.wheel.in(nil, i) {
				if c.isBusy() {
					return false
				}
			}
		}
		return true
	})
}

func (c *conn) isBusy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closing && (c.flushing || len(c.workers) > 0)
}

// deliver keeps one event and rings.
func (d *door) deliver(k edition.Key, v edition.Version) {
	d.t.Helper()
	res, err := d.hub.Deliver(edition.Update{{Key: k, Version: v}}, edition.Delivery{}).Wait(d.t.Context())
	if err != nil || res[0].Outcome == edition.OutcomeFailed {
		d.t.Fatal("deliver:", res, err)
	}
}

// state returns what GET on the endpoint would show.
func (d *door) state(k edition.Key) string {
	d.t.Helper()
	s, err := d.store.State(k)
	if err != nil {
		d.t.Fatal(err)
	}
	return s.State
}

func (d *door) wantState(k edition.Key, want string) {
	d.t.Helper()
	if got := d.state(k); got != want {
		d.t.Errorf("state = %s, want %s", got, want)
	}
}

// device is a registered one.
type device struct {
	edition.Key
	secret string
}

func newDevice() device {
	return device{Key: edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}, secret: edition.NewSecret()}
}

func (v device) proof() edition.Proof {
	p, err := edition.ProofOf(v.secret)
	if err != nil {
		panic(err)
	}
	return p
}

func (v device) claim() wire.Agent { return wire.Agent{UAID: v.UAID, Secret: v.secret} }

func (v device) behind() wire.Agent {
	p := v.proof()
	return wire.Agent{UAID: v.UAID, Proof: &p}
}

// registered makes a device with one app, at an owner.
func (d *door) registered(owner edition.Owner) device {
	d.t.Helper()
	v := newDevice()
	d.register(v, owner)
	return v
}

func (d *door) register(v device, owner edition.Owner) {
	d.t.Helper()
	err := d.store.Register(context.Background(), edition.Registration{Key: v.Key, Proof: v.proof(), Owner: owner})
	if err != nil {
		d.t.Fatal(err)
	}
}

// routes shows a party's routes: drivers, with a "?" where a code is waited for,
// and a "-" where one is gone.
func (d *door) routes(h edition.Holder) string {
	d.t.Helper()
	rs, err := d.store.Routes(h)
	if err != nil {
		d.t.Fatal(err)
	}
	text := make([]string, len(rs))
	for i, r := range rs {
		text[i] = r.Driver
		switch {
		case r.Target == nil:
			text[i] += "-"
		case r.Confirm != "":
			text[i] += "?"
		}
	}
	return strings.Join(text, " ")
}

// relay returns the number of a relay.
func (d *door) relay(name string) edition.Owner {
	d.t.Helper()
	n, err := d.store.Relay(context.Background(), name, "store-of-"+name)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func event(v device, n edition.Version) edition.Event { return edition.Event{Key: v.Key, Version: n} }

// request does a REST request, and returns its status and body.
func (d *door) request(path, body string, token ...string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if len(token) > 0 {
		req.Header.Set("Authorization", "Bearer "+token[0])
	}
	resp, err := d.http.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// post is request with a value that is marshalled.
func (d *door) post(path string, v any, token ...string) (int, string) {
	d.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.request(path, string(b), token...)
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe.example" }
