package kickdrivers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// TestReload keeps what is the same, opens what is new, closes what is gone.
func TestReload(t *testing.T) {
	bubble(t, func(r *rig) {
		if err := r.d.Reload([]kickdrivers.Entry{
			r.entry("three", plain),
			r.entry("one", func(p *kickdrivers.Policy) { p.Grace = 2 * time.Second }),
		}); err != nil {
			t.Fatal(err)
		}
		if r.opened != 3 || r.closed != 1 {
			t.Errorf("%d drivers were opened and %d closed, want 3 and 1", r.opened, r.closed)
		}
		r.d.Due(r.device("one", "a"))
		r.d.Due(r.device("three", "b"))
		r.pass(time.Second)
		r.kicked("a") // the new policy
		r.kicked("b", 300*ms)
		r.pass(2 * time.Second)
		r.kicked("a", 2*time.Second)
		if all := r.d.Entries(); len(all) != 2 || all[0].Name != "three" || all[1].Name != "one" {
			t.Errorf("the list is %+v", all)
		}
		if _, err := r.d.Check(json.RawMessage(`{"driver":"two","to":"7"}`), from, 100); !errors.Is(err, edition.ErrForbidden) {
			t.Errorf("a driver that is no more takes a registration: %v", err)
		}
	}, plain, plain)
}

// TestReloadFails changes nothing, and closes what it has opened.
func TestReloadFails(t *testing.T) {
	bubble(t, func(r *rig) {
		bad := r.entry("three", plain)
		bad.Open = func(driver.Env) (driver.Driver, error) { return nil, errTarget }
		for _, entries := range [][]kickdrivers.Entry{
			{r.entry("two", plain), bad},
			{r.entry("two", plain), r.entry("two", plain)},
			make([]kickdrivers.Entry, 300),
		} {
			if err := r.d.Reload(entries); err == nil {
				t.Error("no error")
			}
		}
		if r.opened != 3 || r.closed != 2 {
			t.Errorf("%d drivers were opened and %d closed, want 3 and 2", r.opened, r.closed)
		}
		r.d.Due(r.device("one", "a"))
		r.pass(time.Second)
		r.kicked("a", 300*ms)
	})
}

// TestReloadWithChangedDriver moves those who wait to the new driver, while
// the old one ends what it has begun.
func TestReloadWithChangedDriver(t *testing.T) {
	bubble(t, func(r *rig) {
		hold := make(chan struct{})
		r.answers(func(string) error { <-hold; return nil })
		old := r.device("one", "old")
		r.d.Due(old)
		r.pass(time.Second)
		var queued []edition.Holder
		for i := range 20 {
			queued = append(queued, r.device("one", fmt.Sprint(i)))
			r.d.Due(queued[i])
		}
		asked := r.wakes(kickdrivers.Wake{Routes: edition.Routes{{Driver: "one", Target: []byte("asked")}}})
		r.pass(time.Second)
		r.in(nil)
		next := r.entry("one", plain)
		next.Fingerprint = "changed"
		if err := r.d.Reload([]kickdrivers.Entry{next}); err != nil {
			t.Fatal(err)
		}
		if r.opened != 2 || r.closed != 0 {
			t.Errorf("%d drivers were opened and %d closed while a kick is under way, want 2 and 0", r.opened, r.closed)
		}
		r.pass(time.Second)
		for i := range queued {
			if len(r.times(fmt.Sprint(i))) != 1 {
				t.Errorf("device %d does not wait at the new driver", i)
			}
		}
		asked.are(t, "one sent")
		close(hold)
		r.pass(time.Second)
		if r.closed != 1 {
			t.Error("the old driver is not closed at its last kick's end")
		}
		r.d.Stop(old)
		r.pass(11 * time.Second)
		if n := countedBy(t, r.reg, "one", "answered"); n != 1 {
			t.Errorf("%d answered to the kick of the old driver", n)
		}
	}, func(p *kickdrivers.Policy) { p.Parallel = 1 })
}

// TestReloadWithoutAnEntry lets its devices rest, and kicks them when it is
// there again; those with another route use that.
func TestReloadWithoutAnEntry(t *testing.T) {
	bubble(t, func(r *rig) {
		only, both := r.device("two", "a"), r.device("two", "b", "one", "c")
		r.d.Due(only)
		r.d.Due(both)
		r.pass(time.Second)
		if err := r.d.Reload([]kickdrivers.Entry{r.entry("one", plain)}); err != nil {
			t.Fatal(err)
		}
		r.pass(10 * time.Minute)
		if len(r.times("a")) != 1 || len(r.times("b")) != 1 || len(r.times("c")) == 0 {
			t.Errorf("kicked %d, %d and %d times", len(r.times("a")), len(r.times("b")), len(r.times("c")))
		}
		if err := r.d.Reload([]kickdrivers.Entry{r.entry("one", plain), r.entry("two", plain)}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		if len(r.times("a")) != 2 {
			t.Errorf("kicked %d times after its driver came back", len(r.times("a")))
		}
		r.d.Stop(only)
		r.d.Stop(both)
		r.pass(time.Hour)
		r.held(0)
	}, plain, plain)
}

// TestReloadAllowsWhatWasRefused takes up those that the old list refused.
func TestReloadAllowsWhatWasRefused(t *testing.T) {
	bubble(t, func(r *rig) {
		r.in(map[string]error{"a": edition.ErrForbidden})
		r.d.Due(r.device("one", "a"))
		r.pass(time.Minute)
		r.in(nil)
		next := r.entry("one", plain)
		next.Fingerprint = "changed"
		if err := r.d.Reload([]kickdrivers.Entry{next}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.counts("sent", 1)
	})
}

func TestReloadToNothing(t *testing.T) {
	bubble(t, func(r *rig) {
		r.d.Due(r.device("one", "a"))
		asked := make([]*reports, 3)
		for i := range asked {
			asked[i] = r.wakes(kickdrivers.Wake{Routes: edition.Routes{{Driver: "one", Target: []byte("x")}}})
		}
		if err := r.d.Reload(nil); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Hour)
		r.kicked("a")
		for _, rs := range asked {
			if len(rs.all) != 1 {
				t.Errorf("%d reports of what was asked for", len(rs.all))
			}
		}
		if err := r.d.Reload([]kickdrivers.Entry{r.entry("one", plain)}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		if len(r.times("a")) != 1 {
			t.Error("not kicked when there is a list again")
		}
	})
}

// strictDriver finds out whether it is used after it was closed.
type strictDriver struct {
	kicked *atomic.Int64
	bad    *atomic.Int64
	closed atomic.Bool
}

func (s *strictDriver) used() {
	if s.closed.Load() {
		s.bad.Add(1)
	}
}

func (s *strictDriver) Check(json.RawMessage, netip.Addr, int) (json.RawMessage, error) {
	s.used()
	return json.RawMessage(`{}`), nil
}

func (s *strictDriver) Aim(json.RawMessage) string { s.used(); return "" }

func (s *strictDriver) Show(driver.Kick) (string, error) { s.used(); return "x", nil }

func (s *strictDriver) Kick(_ context.Context, kicks []driver.Kick, _ []error) {
	s.used()
	time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	s.used()
	s.kicked.Add(int64(len(kicks)))
}

func (s *strictDriver) Close() error {
	if s.closed.Swap(true) {
		s.bad.Add(1)
	}
	return nil
}

// TestReloadUnderLoad changes the list all the time while devices come and go,
// and kicks are asked for: no driver is used after its end, none is left open,
// nothing is lost.
func TestReloadUnderLoad(t *testing.T) {
	var kicked, bad, opened atomic.Int64
	var drivers sync.Map
	entry := func(name string, version int) kickdrivers.Entry {
		p := kickdrivers.DefaultPolicy()
		p.Grace, p.MinInterval, p.Rate, p.TargetRate, p.Parallel = 0, 0, 0, 0, 1+version%3
		return kickdrivers.Entry{Name: name, Driver: "udp", Fingerprint: fmt.Sprint(version), Policy: p, Open: func(driver.Env) (driver.Driver, error) {
			s := &strictDriver{kicked: &kicked, bad: &bad}
			drivers.Store(s, true)
			opened.Add(1)
			return s, nil
		}}
	}
	routes := edition.Routes{{Driver: "one", Target: []byte("a")}, {Driver: "two", Target: []byte("b")}}
	d, err := kickdrivers.New(kickdrivers.Options{
		Entries:  []kickdrivers.Entry{entry("one", 0), entry("two", 0)},
		Routes:   func(edition.Holder) (edition.Routes, error) { return routes, nil },
		StillDue: func(edition.Holder) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop := make(chan struct{})
	var all, final, asked sync.WaitGroup
	var finals, wakes atomic.Int64
	for range 3 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				who := edition.Holder{UAID: edition.UAID{byte(rand.IntN(256)), byte(rand.IntN(4))}}
				switch n % 6 {
				case 0, 1:
					d.Due(who)
				case 2:
					d.Stop(who)
				case 3:
					d.Acked(who)
				case 4:
					if _, err := d.Check(json.RawMessage(`[{"driver":"one"}]`), from, 100); err != nil {
						t.Error(err)
					}
					d.Wakeable(routes)
					d.Entries()
				case 5:
					final.Add(1)
					asked.Go(func() {
						err := d.Wake(kickdrivers.Wake{Who: who, Report: func(res kickdrivers.Result) {
							if res.Final {
								finals.Add(1)
								final.Done()
							}
						}})
						if err != nil {
							final.Done()
							if !errors.Is(err, edition.ErrTooMany) {
								t.Error(err)
							}
							return
						}
						wakes.Add(1)
					})
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for version := 1; version < 200; version++ {
		list := []kickdrivers.Entry{entry("one", version), entry("two", version/10)}
		if version%7 == 0 {
			list = list[:1]
		}
		if err := d.Reload(list); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	close(stop)
	all.Wait()
	asked.Wait()
	before := kicked.Load()
	for deadline := time.Now().Add(30 * time.Second); kicked.Load() == before && time.Now().Before(deadline); {
		d.Due(edition.Holder{UAID: edition.NewUAID()})
		time.Sleep(time.Millisecond)
	}
	if kicked.Load() == before {
		t.Error("no kick after the last reload")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	final.Wait()
	if finals.Load() != wakes.Load() {
		t.Errorf("%d of %d that were asked for have an end", finals.Load(), wakes.Load())
	}
	if n := bad.Load(); n != 0 {
		t.Errorf("drivers were used or closed after their end, %d times", n)
	}
	drivers.Range(func(s, _ any) bool {
		if !s.(*strictDriver).closed.Load() {
			t.Error("a driver is left open")
		}
		return true
	})
	if opened.Load() < 200 {
		t.Errorf("%d drivers were opened", opened.Load())
	}
}

// TestReceipts counts what a provider tells later.
func TestReceipts(t *testing.T) {
	bubble(t, func(r *rig) {
		e := r.entry("two", plain)
		e.Open = func(env driver.Env) (driver.Driver, error) {
			env.Count("delivered")
			env.Count("delivered")
			return &fake{r, "two"}, nil
		}
		if err := r.d.Reload([]kickdrivers.Entry{e}); err != nil {
			t.Fatal(err)
		}
		if n := gauge(t, r.reg, "edition_kickdrivers_receipts_total"); n != 2 {
			t.Errorf("%v receipts are counted, want 2", n)
		}
	})
}
