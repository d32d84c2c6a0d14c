package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

func TestRegister(t *testing.T) {
	a, b := newFake(t), newFake(t)
	g := newRig(t, nil, a, b)
	d := newDevice(t)
	endpoint, err := g.Register(t.Context(), d.registration())
	if err != nil || endpoint != "https://push.test/v1/e/"+d.app.String() {
		t.Errorf("%q %v", endpoint, err)
	}
	if agent, err := g.store.Agent(d.uaid); err != nil || agent.Upstream != "up0" || agent.Proof != d.proof {
		t.Errorf("%+v %v", agent, err)
	}
	for _, c := range []struct {
		d    device
		name string
		want error
	}{
		{d, "", nil},
		{d, "up0", nil},
		{d, "up1", edition.ErrConflict},
		{d, "nowhere", edition.ErrConflict},
		{newDevice(t), "nowhere", edition.ErrNotFound},
		{newDevice(t), "up1", nil},
	} {
		r := c.d.registration()
		r.Upstream = c.name
		if _, err := g.Register(t.Context(), r); !errors.Is(err, c.want) {
			t.Errorf("upstream %q: %v, want %v", c.name, err, c.want)
		}
	}
	if err := g.Unregister(t.Context(), d.registration().Key); err != nil {
		t.Fatal(err)
	}
	if m := a.await(t, wire.TypeUnregister); *m.UAID != d.uaid || *m.AppID != d.app || m.Proof == nil {
		t.Errorf("unregister %+v", m)
	}
	if err := g.Unregister(t.Context(), newDevice(t).registration().Key); err != nil {
		t.Errorf("an unknown one: %v", err)
	}
}

// TestUpstreamSaysNo hands upstream's error to the device, and keeps nothing.
func TestUpstreamSaysNo(t *testing.T) {
	up := newFake(t)
	var err error
	endpoint := ""
	up.register = func(wire.Message) (string, error) { return endpoint, err }
	g := newRig(t, nil, up)
	d := newDevice(t)
	for _, e := range []error{edition.ErrUnauthorized, edition.ErrForbidden, edition.RetryAfter(edition.ErrTooMany, time.Minute)} {
		err = e
		_, got := g.Register(t.Context(), d.registration())
		if wire.Status(got) != wire.Status(e) {
			t.Errorf("%v became %v", e, got)
		}
		if r, ok := errors.AsType[*edition.RetryError](got); errors.Is(e, edition.ErrTooMany) && (!ok || r.After != time.Minute) {
			t.Errorf("Retry-After was lost: %v", got)
		}
	}
	err = nil
	for _, endpoint = range []string{"", "/v1/e/x", "ftp://x/y", "http://", "http://u:p@x/", "javascript:alert(1)", "http://x/" + strings.Repeat("x", maxEndpoint)} {
		if _, got := g.Register(t.Context(), d.registration()); !errors.Is(got, edition.ErrUnavailable) {
			t.Errorf("endpoint %.30q: %v", endpoint, got)
		}
	}
	if _, err := g.store.Agent(d.uaid); !errors.Is(err, edition.ErrNotFound) {
		t.Errorf("it was kept: %v", err)
	}
}

// TestUpstreamAway answers at once, and says when to come back.
func TestUpstreamAway(t *testing.T) {
	r, err := New(Options{Name: "r", Store: mem.New(mem.Options{}), Upstreams: []Upstream{{Name: "up", URL: "http://127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "an error", func() bool { return r.Upstreams()[0].Error != "" })
	d := newDevice(t)
	_, err = r.Register(t.Context(), d.registration())
	after, ok := errors.AsType[*edition.RetryError](err)
	if !errors.Is(err, edition.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || !ok || after.After != retryAfter {
		t.Errorf("%v", err)
	}
	_, err = r.Claim(t.Context(), []edition.Credential{d.credential()}, 0)
	if !errors.Is(err, edition.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("claim: %v", err)
	}
}

// TestClaim asks the upstreams in turn, many devices in few hellos, and binds
// what they prove.
func TestClaim(t *testing.T) {
	a, b := newFake(t), newFake(t)
	none, second := newDevice(t), newDevice(t)
	var holding atomic.Bool
	hold := make(chan struct{})
	a.refuse = func(u edition.UAID) bool {
		if holding.Load() {
			<-hold
		}
		return u == none.uaid || u == second.uaid
	}
	b.refuse = func(u edition.UAID) bool { return u == none.uaid }
	g := newRig(t, nil, a, b)
	who := []edition.Credential{none.credential(), second.credential(), second.credential()}
	firsts := make([]device, 300)
	for i := range firsts {
		firsts[i] = newDevice(t)
		who = append(who, firsts[i].credential())
	}
	got, err := g.Claim(t.Context(), who, 7)
	if err != nil || len(got) != 301 || slices.Contains(got, none.uaid) {
		t.Errorf("%d proven, %v", len(got), err)
	}
	for d, want := range map[device]string{firsts[0]: "up0", second: "up1"} {
		if agent, err := g.store.Agent(d.uaid); err != nil || agent.Upstream != want || agent.Owner != 7 || agent.Proof != d.proof {
			t.Errorf("%+v %v", agent, err)
		}
	}
	if _, err := g.store.Agent(none.uaid); !errors.Is(err, edition.ErrNotFound) {
		t.Errorf("who was refused everywhere is known: %v", err)
	}

	// While one hello is on its way, those who come gather for the next.
	for len(a.seen) > 0 {
		<-a.seen
	}
	var claims sync.WaitGroup
	claim := func() {
		d := newDevice(t)
		if got, err := g.Claim(t.Context(), []edition.Credential{d.credential()}, 0); err != nil || len(got) != 1 {
			t.Errorf("%v %v", got, err)
		}
	}
	holding.Store(true)
	claims.Go(claim)
	a.await(t, wire.TypeHello)
	for range 200 {
		claims.Go(claim)
	}
	h := &g.ups[0].herald
	eventually(t, "all wait", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.claims) == 200 })
	close(hold)
	claims.Wait()
	hellos := 0
	for len(a.seen) > 0 {
		if m := <-a.seen; m.Type == wire.TypeHello {
			hellos++
		}
	}
	if hellos != 1 {
		t.Errorf("%d hellos for 200 claims", hellos)
	}
}

// TestClaimsOfOneDevice has a thief claim a device at the same time as its
// rightful holder: each gets the answer to its own proof.
func TestClaimsOfOneDevice(t *testing.T) {
	up := newFake(t)
	d := newDevice(t)
	proof, _ := d.proof.MarshalText()
	var mu sync.Mutex
	up.refuse = func(edition.UAID) bool {
		mu.Lock()
		defer mu.Unlock()
		up.mu.Lock()
		last := up.text[len(up.text)-1]
		up.mu.Unlock()
		if strings.Count(last, d.uaid.String()) > 1 {
			t.Error("one hello names the device twice")
		}
		return !strings.Contains(last, string(proof))
	}
	g := newRig(t, nil, up)
	thief := d
	thief.proof[0]++
	var claims sync.WaitGroup
	for i := range 100 {
		claims.Go(func() {
			who, want := d, 1
			if i%2 == 0 {
				who, want = thief, 0
			}
			ctx := t.Context()
			if i%5 == 0 { // some give up at any moment
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*50*time.Microsecond)
				defer cancel()
			}
			got, err := g.Claim(ctx, []edition.Credential{who.credential()}, 0)
			if err == nil && len(got) != want {
				t.Errorf("claim %d: %v", i, got)
			}
			if len(got) > want {
				t.Errorf("the thief was believed")
			}
		})
	}
	claims.Wait()
	if agent, err := g.store.Agent(d.uaid); err == nil && agent.Proof != d.proof {
		t.Error("the thief's proof was kept")
	}
}

// TestPresent tells upstream, once each, who has shown up; those it could not
// be told go up with the next connection.
func TestPresent(t *testing.T) {
	up := newFake(t)
	odd := newDevice(t)
	up.refuse = func(u edition.UAID) bool { return u == odd.uaid }
	g := newRig(t, nil, up)
	var agents []edition.Agent
	told := make(map[edition.UAID]int)
	for i := range 1200 {
		d := newDevice(t)
		if i == 0 {
			d = odd
		}
		r := d.registration()
		r.Upstream = "up0"
		if err := g.store.Register(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		agents = append(agents, edition.Agent{UAID: d.uaid, Upstream: "up0", Seen: time.Now().Add(-time.Hour)})
	}
	agents[1].Seen = time.Time{}
	up.await(t, wire.TypeKick)
	up.cut()
	g.Present(agents)
	g.Present(agents)
	g.Present([]edition.Agent{{UAID: edition.NewUAID(), Upstream: "up0"}, {UAID: edition.NewUAID(), Upstream: "gone"}})
	eventually(t, "all presented", func() bool {
		for len(up.seen) > 0 {
			m := <-up.seen
			if len(m.Agents) > heraldBatch {
				t.Errorf("a hello with %d agents", len(m.Agents))
			}
			for _, a := range m.Agents { // also of those that are told again
				told[a.UAID]++
				if late := a.Age >= time.Hour.Milliseconds()/2; late != (a.UAID != agents[1].UAID) || a.Secret != "" {
					t.Errorf("told %d ms late, %q", a.Age, a.Secret)
				}
			}
		}
		return len(told) == len(agents) && g.count(t, "edition_relay_presented_total", "result", "accepted") >= 1199 &&
			g.count(t, "edition_relay_presented_total", "result", "refused") > 0
	})
	// Twice when the first batch was on its way already.
	if n := g.count(t, "edition_relay_presented_total", "result", "refused"); n > 2 {
		t.Errorf("%v refused", n)
	}
	for _, a := range agents {
		if told[a.UAID] == 0 {
			t.Errorf("%s was not told", a.UAID.Short())
		}
	}
	if _, err := g.store.Agent(odd.uaid); err != nil {
		t.Errorf("who was refused stays here: %v", err)
	}
}

func TestHolds(t *testing.T) {
	h := newHolds()
	a, b := newDevice(t), newDevice(t)
	if err := h.acquire(t.Context(), a.uaid); err != nil {
		t.Fatal(err)
	}
	free, held := h.split(load{events: edition.Update{a.event(1), b.event(1)}})
	if len(free.events) != 1 || len(held.events) != 1 || held.events[0].UAID != a.uaid {
		t.Errorf("%v %v", free, held)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("enough"))
	if err := h.acquire(ctx, a.uaid); err == nil || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
	h.wait(ctx, a.uaid)
	var most, now int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := h.acquire(t.Context(), a.uaid); err != nil {
				t.Error(err)
			}
			mu.Lock()
			now++
			most = max(most, now)
			now--
			mu.Unlock()
			h.release(a.uaid)
		})
	}
	h.release(a.uaid)
	all.Wait()
	h.wait(t.Context(), a.uaid)
	if most != 1 || len(h.held) != 0 {
		t.Errorf("%d held it at once, %d are left", most, len(h.held))
	}
}

func TestOptions(t *testing.T) {
	s := mem.New(mem.Options{})
	up := Upstream{Name: "u", URL: "http://x.test"}
	for _, o := range []Options{
		{Store: s, Upstreams: []Upstream{up}},
		{Store: s, Name: "r"},
		{Store: s, Name: "r", Upstreams: []Upstream{up, up}},
		{Store: s, Name: "r", Upstreams: []Upstream{{URL: "http://x.test"}}},
		{Store: s, Name: "r", Upstreams: []Upstream{{Name: "u", URL: "x"}}},
	} {
		if _, err := New(o); !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%+v: %v", o.Upstreams, err)
		}
	}
}
