package kickdrivers_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// rig runs a dispatcher in a bubble, over a store and drivers that are maps.
type rig struct {
	*testing.T
	d     *kickdrivers.Dispatcher
	reg   *prometheus.Registry
	start time.Time
	stop  func()

	mu      sync.Mutex
	pending map[edition.Holder]bool // Guarded by mu, as all below.
	routes  map[edition.Holder]edition.Routes
	noRoute error
	kicks   []kick
	forgot  []edition.Holder
	opened  int
	closed  int
	answer  func(ctx context.Context, target string) error
	onBatch func(n int)
}

type kick struct {
	entry, target, code string
	at                  time.Duration
	err                 error
}

// fake is a driver that notes its kicks.
type fake struct {
	r     *rig
	entry string
}

func (f *fake) Check(target json.RawMessage, _ netip.Addr, size int) (json.RawMessage, error) {
	var t struct{ To, Err string }
	if err := json.Unmarshal(target, &t); err != nil || size < 1 {
		return nil, edition.ErrMalformed
	}
	switch t.Err {
	case "malformed":
		return nil, edition.ErrMalformed
	case "forbidden", f.entry:
		return nil, edition.ErrForbidden
	}
	return json.RawMessage(t.To), nil
}

func (f *fake) Aim(target json.RawMessage) string { return string(target) }

func (f *fake) Show(k driver.Kick) (string, error) {
	if string(k.Target) == "closed" {
		return "", edition.ErrForbidden
	}
	return string(k.Target), nil
}

func (f *fake) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	f.r.mu.Lock()
	answer, onBatch, first := f.r.answer, f.r.onBatch, len(f.r.kicks)
	for _, k := range kicks {
		f.r.kicks = append(f.r.kicks, kick{f.entry, string(k.Target), k.Confirm, time.Since(f.r.start), nil})
	}
	f.r.mu.Unlock()
	if onBatch != nil {
		onBatch(len(kicks))
	}
	for i, k := range kicks {
		if answer != nil {
			errs[i] = answer(ctx, string(k.Target))
			f.r.mu.Lock()
			f.r.kicks[first+i].err = errs[i]
			f.r.mu.Unlock()
		}
	}
}

func (f *fake) Close() error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.closed++
	return nil
}

// bubble runs a test with a dispatcher whose entries, one for each change,
// have the default policy so changed.
func bubble(t *testing.T, test func(r *rig), change ...func(*kickdrivers.Policy)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change...)
		defer r.stop()
		test(r)
	})
}

var entryNames = []string{"one", "two", "three"}

func newRig(t *testing.T, change ...func(*kickdrivers.Policy)) *rig {
	r := &rig{
		T: t, reg: prometheus.NewRegistry(), start: time.Now(),
		pending: make(map[edition.Holder]bool), routes: make(map[edition.Holder]edition.Routes),
	}
	if len(change) == 0 {
		change = append(change, func(*kickdrivers.Policy) {})
	}
	var entries []kickdrivers.Entry
	for i, c := range change {
		entries = append(entries, r.entry(entryNames[i], c))
	}
	var err error
	r.d, err = kickdrivers.New(kickdrivers.Options{
		Entries: entries, Metrics: r.reg, Routes: r.routesOf, StillDue: r.stillDue, Gone: r.gone,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.d.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		ended <- nil
	}
	return r
}

// entry is one whose driver is a fake.
func (r *rig) entry(name string, change func(*kickdrivers.Policy)) kickdrivers.Entry {
	e := kickdrivers.Entry{Name: name, Driver: "udp", Fingerprint: name, Policy: kickdrivers.DefaultPolicy()}
	e.Policy.TargetRate = 0
	change(&e.Policy)
	e.Open = func(driver.Env) (driver.Driver, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.opened++
		return &fake{r, name}, nil
	}
	return e
}

func (r *rig) routesOf(who edition.Holder) (edition.Routes, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.routes[who], r.noRoute
}

func (r *rig) stillDue(who edition.Holder) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending[who]
}

func (r *rig) gone(who edition.Holder, route edition.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	routes, was := r.routes[who].Gone(route)
	if was {
		r.forgot = append(r.forgot, who)
	}
	r.routes[who] = routes
}

// device makes a device with something pending, which is kicked through the
// entry at the target, and then by the other routes, likewise.
func (r *rig) device(entry, target string, more ...string) edition.Holder {
	who := edition.Holder{UAID: edition.NewUAID()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[who] = true
	if entry == "" {
		return who
	}
	r.routes[who] = edition.Routes{{Driver: entry, Target: json.RawMessage(target)}}
	for i := 0; i < len(more); i += 2 {
		r.routes[who] = append(r.routes[who], edition.Route{Driver: more[i], Target: json.RawMessage(more[i+1])})
	}
	return who
}

func (r *rig) set(who edition.Holder, pending bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[who] = pending
}

func (r *rig) answers(f func(target string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = func(_ context.Context, target string) error { return f(target) }
}

// pass lets time go by until all is still.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// times returns when the target was kicked.
func (r *rig) times(target string) (at []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kicks {
		if k.target == target {
			at = append(at, k.at)
		}
	}
	return at
}

// kicked expects that the target was kicked at these times and no others, give
// or take a wheel's tick.
func (r *rig) kicked(target string, want ...time.Duration) {
	r.Helper()
	got := r.times(target)
	if !slices.EqualFunc(got, want, near) {
		r.Errorf("%s was kicked at %v, want %v", target, got, want)
	}
}

func near(got, want time.Duration) bool { return got >= want && got <= want+20*time.Millisecond }

// counts expects a number of an outcome.
func (r *rig) counts(outcome string, want int) {
	r.Helper()
	if n := counted(r, r.reg, outcome); n != want {
		r.Errorf("%s is counted %d times, want %d", outcome, n, want)
	}
}

// held expects a number of parties in the dispatcher.
func (r *rig) held(want float64) {
	r.Helper()
	if n := gauge(r, r.reg, "edition_kickdrivers_waiting"); n != want {
		r.Errorf("%v parties are held, want %v", n, want)
	}
}

func gauge(tb testing.TB, reg *prometheus.Registry, name string) float64 {
	families, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	tb.Errorf("there is no metric %s", name)
	return 0
}

var errTarget = errors.New("no route to host")
