package kickdrivers_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

// reports notes what becomes of one Wake.
type reports struct {
	mu  sync.Mutex
	all []kickdrivers.Result
}

func (rs *reports) add(r kickdrivers.Result) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all = append(rs.all, r)
}

// are expects these outcomes, as "driver outcome", and that only the last is
// final.
func (rs *reports) are(t *testing.T, want ...string) {
	t.Helper()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var got []string
	for i, r := range rs.all {
		got = append(got, r.Driver+" "+r.Outcome.String())
		if r.Final != (i == len(rs.all)-1) {
			t.Errorf("report %d of %d is final: %v", i, len(rs.all), r.Final)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the reports %q, want %q", got, want)
	}
}

func (r *rig) wakes(w kickdrivers.Wake) *reports {
	r.Helper()
	rs := &reports{}
	w.Report = rs.add
	if err := r.d.Wake(w); err != nil {
		r.Error(err)
	}
	return rs
}

func TestWakeAnswered(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.set(who, false) // nothing is due
		got := r.wakes(kickdrivers.Wake{Who: who})
		r.pass(time.Second)
		r.kicked("a", 0)
		got.mu.Lock()
		if len(got.all) != 1 || got.all[0] != (kickdrivers.Result{Driver: "one"}) {
			t.Errorf("%+v, want that it was sent", got.all)
		}
		got.mu.Unlock()
		r.d.Stop(who)
		r.pass(time.Second)
		got.are(t, "one sent", "one answered")
		r.counts("answered", 1)
		r.measured("edition_kickdrivers_connect_seconds", 1, 1)
		r.held(0)
	})
}

func TestWakeUnanswered(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.set(who, false)
		got, second := r.wakes(kickdrivers.Wake{Who: who}), r.wakes(kickdrivers.Wake{Who: who})
		r.pass(29 * time.Second)
		got.mu.Lock()
		if len(got.all) != 1 {
			t.Errorf("%+v before next_after has passed", got.all)
		}
		got.mu.Unlock()
		r.pass(2 * time.Second)
		got.are(t, "one sent", "one unanswered")
		second.are(t, "one sent", "one unanswered")
		r.counts("unanswered", 2)
	})
}

func TestWakeTargetOfNobody(t *testing.T) {
	bubble(t, func(r *rig) {
		got := r.wakes(kickdrivers.Wake{
			Routes: edition.Routes{{Driver: "one", Target: []byte("x"), Confirm: "UNUSED22"}}, Confirm: "K7TQ2MXB",
		})
		r.pass(time.Second)
		got.are(t, "one sent")
		if r.exactly(kick{entry: "one", target: "x", code: "K7TQ2MXB"}) != 1 {
			t.Error("not kicked with the code that was given")
		}
		r.in(map[string]error{"x": edition.ErrGone})
		got = r.wakes(kickdrivers.Wake{Routes: edition.Routes{{Driver: "one", Target: []byte("x")}}})
		r.pass(time.Second)
		got.are(t, "one gone")
		if len(r.forgot) != 0 {
			t.Error("forgot a route that is nobody's")
		}
	})
}

// TestWakeTriesTheList goes on where a kick was not sent, and only there.
func TestWakeTriesTheList(t *testing.T) {
	bubble(t, func(r *rig) {
		r.in(map[string]error{"a": edition.ErrGone, "b": errTarget, "c": edition.ErrForbidden})
		who := r.device("one", "a", "two", "b", "three", "d")
		r.set(who, false)
		got := r.wakes(kickdrivers.Wake{Who: who})
		r.pass(time.Second)
		r.d.Stop(who)
		r.pass(time.Second)
		got.are(t, "three sent", "three answered")
		if !slices.Equal(r.forgot, []edition.Holder{who}) {
			t.Errorf("forgot %v", r.forgot)
		}
		who = r.device("one", "c", "two", "b")
		got = r.wakes(kickdrivers.Wake{Who: who})
		r.pass(time.Second)
		got.are(t, "two failed")
		if err := got.all[0].Err; !errors.Is(err, errTarget) {
			t.Errorf("the report says %v", err)
		}
		got = r.wakes(kickdrivers.Wake{Who: who, Allow: func(entry string) bool { return entry == "one" }})
		r.pass(time.Second)
		got.are(t, "one refused")
	}, plain, plain, plain)
}

func TestWakeRefused(t *testing.T) {
	bubble(t, func(r *rig) {
		unknown, gone, unproven := r.device("", ""), r.device("one", "a"), r.device("one", "b")
		r.mu.Lock()
		r.routes[gone][0].Target = nil
		r.routes[unproven][0].Confirm = "K7TQ2MXB"
		r.mu.Unlock()
		for _, c := range []struct {
			w    kickdrivers.Wake
			want error
		}{
			{kickdrivers.Wake{Who: unknown}, edition.ErrNotFound},
			{kickdrivers.Wake{Who: gone}, edition.ErrNotFound},
			{kickdrivers.Wake{Who: unproven}, edition.ErrNotFound},
			{kickdrivers.Wake{Who: r.device("nobody", "a")}, edition.ErrNotFound},
			{kickdrivers.Wake{Routes: edition.Routes{{Driver: "nobody", Target: []byte("a")}}}, edition.ErrNotFound},
			{kickdrivers.Wake{Who: r.device("one", "a"), Allow: func(string) bool { return false }}, edition.ErrForbidden},
		} {
			c.w.Report = func(res kickdrivers.Result) { t.Errorf("reported %+v after an error", res) }
			if err := r.d.Wake(c.w); !errors.Is(err, c.want) {
				t.Errorf("%+v: %v, want %v", c.w.Routes, err, c.want)
			}
		}
		r.noRoute = edition.ErrUnavailable
		if err := r.d.Wake(kickdrivers.Wake{Who: unknown}); !errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("the store cannot be read: %v", err)
		}
		r.pass(time.Minute)
	})
}

func TestWakeAndBreaker(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(string) error { return edition.RetryAfter(edition.ErrUnavailable, time.Minute) })
		who := r.device("one", "a")
		first := r.wakes(kickdrivers.Wake{Who: who})
		r.pass(time.Second)
		first.are(t, "one failed")
		second := r.wakes(kickdrivers.Wake{Who: who})
		r.pass(time.Second)
		second.are(t, "one breaker_open")
		again, ok := errors.AsType[*edition.RetryError](second.all[0].Err)
		if !ok || again.After < 55*time.Second || again.After > time.Minute {
			t.Errorf("%v says to come back after %v", second.all[0].Err, again)
		}
		r.in(nil)
		r.pass(time.Minute) // half open: this is the probe
		third := r.wakes(kickdrivers.Wake{Who: who})
		r.pass(time.Second)
		r.d.Stop(who)
		r.pass(time.Second)
		third.are(t, "one sent", "one answered")
		if s := r.d.Entries()[0]; s.Breaker != kickdrivers.BreakerShut {
			t.Errorf("the breaker is %s", s.Breaker)
		}
	})
}

// TestWakeQueueIsBounded asks for more than the rate allows in time: what is
// too much is refused at once, what waits has its turn, in order.
func TestWakeQueueIsBounded(t *testing.T) {
	bubble(t, func(r *rig) {
		var sent []*reports
		refused := 0
		for i := range 100 {
			rs := &reports{}
			err := r.d.Wake(kickdrivers.Wake{Routes: edition.Routes{{Driver: "one", Target: fmt.Append(nil, i)}}, Report: rs.add})
			switch again, ok := errors.AsType[*edition.RetryError](err); {
			case err == nil:
				sent = append(sent, rs)
			case !errors.Is(err, edition.ErrTooMany) || !ok || again.After <= 0:
				t.Fatal(err)
			default:
				refused++
			}
		}
		if len(sent) < 10 || len(sent) > 11 || refused != 100-len(sent) { // one may have left the queue meanwhile
			t.Errorf("%d taken and %d refused at 2 a second", len(sent), refused)
		}
		r.pass(10 * time.Second)
		for _, rs := range sent {
			rs.are(t, "one sent")
		}
		r.counts("sent", len(sent))
	}, func(p *kickdrivers.Policy) { p.Rate, p.Burst = 2, 1 })
}

// TestWakeWaitsNoLongerThanItMay has a driver that never ends.
func TestWakeWaitsNoLongerThanItMay(t *testing.T) {
	bubble(t, func(r *rig) {
		hold := make(chan struct{})
		r.answers(func(string) error { <-hold; return nil })
		first := r.wakes(kickdrivers.Wake{Routes: edition.Routes{{Driver: "one", Target: []byte("a")}}})
		r.pass(time.Second)
		second := r.wakes(kickdrivers.Wake{Routes: edition.Routes{{Driver: "one", Target: []byte("b")}}})
		r.pass(11 * time.Second)
		second.are(t, "one rate_limited")
		first.are(t)
		close(hold)
		r.pass(time.Second)
		first.are(t, "one sent")
	}, func(p *kickdrivers.Policy) { p.Parallel = 1 })
}

// TestWakeAndDueShareTheRate keeps either from holding up the other.
func TestWakeAndDueShareTheRate(t *testing.T) {
	for _, rate := range []float64{10, 200} {
		bubble(t, func(r *rig) {
			for i := range 5000 {
				r.d.Due(r.device("one", fmt.Sprint("due", i)))
			}
			r.pass(10 * time.Second)
			before := len(r.kicks)
			const n = 40
			for i := range n {
				r.wakes(kickdrivers.Wake{Routes: edition.Routes{{Driver: "one", Target: fmt.Append(nil, "asked", i)}}})
			}
			r.pass(9500 * ms)
			asked := 0
			for _, k := range r.kicks[before:] {
				if k.target[0] == 'a' {
					asked++
				}
			}
			all := len(r.kicks) - before
			if asked != n || all-asked < n-2 {
				t.Errorf("at %v a second: %d of %d that were asked for, and %d that were due", rate, asked, n, all-asked)
			}
			if most := int(rate * 10); all > most {
				t.Errorf("%d kicks in 9.5 s at %v a second", all, rate)
			}
		}, func(p *kickdrivers.Policy) { p.Rate, p.Burst, p.GiveUp = rate, 1, time.Hour })
	}
}

// TestWakeAtTheEnd tells all who ask, exactly once that it is over.
func TestWakeAtTheEnd(t *testing.T) {
	bubble(t, func(r *rig) {
		hold := make(chan struct{})
		r.answers(func(target string) error {
			if target == "held" {
				<-hold
			}
			return nil
		})
		who := r.device("two", "a")
		r.set(who, false)
		sent := r.wakes(kickdrivers.Wake{Who: who})
		r.pass(time.Second)
		flying := r.wakes(kickdrivers.Wake{Who: r.device("one", "held")})
		r.pass(time.Second)
		queued := r.wakes(kickdrivers.Wake{Who: r.device("one", "b")})
		go func() {
			time.Sleep(2 * time.Second)
			close(hold)
		}()
		r.stop()
		sent.are(t, "two sent", "two unanswered")
		flying.are(t, "one sent", "one unanswered")
		queued.are(t, "one failed")
		if err := r.d.Wake(kickdrivers.Wake{Who: who}); !errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("after the end: %v", err)
		}
		r.d.Stop(who)
		r.d.Challenge(who)
		if err := r.d.Reload(nil); !errors.Is(err, edition.ErrUnavailable) {
			t.Errorf("a reload after the end: %v", err)
		}
	}, func(p *kickdrivers.Policy) { p.Parallel = 1 }, plain)
}

func TestWakeable(t *testing.T) {
	bubble(t, func(r *rig) {
		apns := r.entry("three", plain)
		apns.Driver = "apns"
		if err := r.d.Reload([]kickdrivers.Entry{r.entry("one", plain), r.entry("two", plain), apns}); err != nil {
			t.Fatal(err)
		}
		yes := edition.Route{Driver: "one", Target: []byte("a")}
		for _, c := range []struct {
			routes edition.Routes
			want   bool
		}{
			{nil, false},
			{edition.Routes{yes}, true},
			{edition.Routes{{Driver: "three", Target: []byte("a")}}, false},
			{edition.Routes{{Driver: "three", Target: []byte("a")}, yes}, true},
			{edition.Routes{{Driver: "nobody", Target: []byte("a")}}, false},
			{edition.Routes{{Driver: "one"}}, false},
			{edition.Routes{{Driver: "one", Target: []byte("a"), Confirm: "K7TQ2MXB"}}, false},
			{edition.Routes{{Driver: "one", Target: []byte("closed")}}, false}, // no longer allowed
		} {
			if got := r.d.Wakeable(c.routes); got != c.want {
				t.Errorf("Wakeable(%v) = %v", c.routes, got)
			}
		}
		r.answers(func(string) error { return edition.RetryAfter(edition.ErrUnavailable, time.Minute) })
		r.wakes(kickdrivers.Wake{Routes: edition.Routes{yes}})
		r.pass(time.Second)
		if r.d.Wakeable(edition.Routes{yes}) {
			t.Error("wakeable by a driver that is down")
		}
	}, plain, plain)
}

func TestEntries(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(target string) error {
			if target == "bad" {
				return edition.RetryAfter(edition.ErrUnavailable, time.Minute)
			}
			return nil
		})
		for i := range 30 {
			r.d.Due(r.device("one", fmt.Sprint(i)))
		}
		r.d.Due(r.device("two", "bad"))
		r.pass(time.Second)
		all := r.d.Entries()
		if len(all) != 2 {
			t.Fatalf("%d entries", len(all))
		}
		one, two := all[0], all[1]
		if one.Name != "one" || one.Driver != "udp" || one.Rate != 5 || one.Breaker != "closed" || one.Outcomes["sent"] < 10 || one.Queued == 0 {
			t.Errorf("got %+v", one)
		}
		if two.Name != "two" || two.Breaker != "open" || two.Wait < 58*time.Second || two.Wait > time.Minute || two.Outcomes["failed"] != 1 || two.Outcomes["breaker_open"] != 1 {
			t.Errorf("got %+v", two)
		}
		r.pass(time.Minute - time.Second)
		if two := r.d.Entries()[1]; two.Breaker != "half-open" && two.Breaker != "open" {
			t.Errorf("got %+v", two)
		}
	}, func(p *kickdrivers.Policy) { p.Rate, p.Burst, p.GiveUp = 5, 10, time.Hour }, plain)
}
