package kickdrivers_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

func plain(*kickdrivers.Policy) {}

// in answers each target with an error of its own.
func (r *rig) in(answers map[string]error) {
	r.answers(func(target string) error { return answers[target] })
}

// TestNextAtOnce tries a list whose first routes do not work.
func TestNextAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.in(map[string]error{"a": errTarget, "b": edition.ErrGone, "c": edition.ErrForbidden})
		who := r.device("one", "a", "two", "b", "one", "c", "three", "d")
		r.d.Due(who)
		r.pass(time.Second)
		for _, target := range []string{"a", "b", "c", "d"} {
			if at := r.times(target); len(at) != 1 || at[0] > 400*ms {
				t.Errorf("%s was kicked at %v, want once, after the grace and no more", target, at)
			}
		}
		r.mu.Lock()
		if routes := r.routes[who]; routes[1].Target != nil || routes[1].Driver != "two" || len(r.forgot) != 1 {
			t.Errorf("%v is left of a list with one route that is gone, %d forgotten", routes, len(r.forgot))
		}
		r.mu.Unlock()
		r.d.Stop(who)
		for entry, want := range map[string]int{"one": 0, "two": 0, "three": 1} {
			if n := countedBy(t, r.reg, entry, "answered"); n != want {
				t.Errorf("%d answered to %s, want %d", n, entry, want)
			}
		}
	}, plain, plain, plain)
}

// TestNextAfter has a device that only answers to its second route.
func TestNextAfter(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a", "two", "b")
		r.d.Due(who)
		r.pass(29 * time.Second)
		r.kicked("a", 300*ms)
		r.kicked("b")
		r.pass(2 * time.Second)
		r.kicked("a", 300*ms)
		r.kicked("b", 30300*ms)
		r.counts("unanswered", 1)
		r.d.Stop(who)
		r.d.Acked(who)
		r.counts("answered", 1)
		if n := countedBy(t, r.reg, "one", "unanswered"); n != 1 {
			t.Errorf("%d kicks of the first route are counted as unanswered", n)
		}
		if n := countedBy(t, r.reg, "two", "answered"); n != 1 {
			t.Errorf("%d kicks of the second route are counted as answered", n)
		}
		r.pass(time.Hour)
		r.held(0)
	}, plain, plain)
}

// TestRounds follows a device that answers to none of its routes: a round of
// all of them, a pause, which grows, another round.
func TestRounds(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a", "two", "b")
		r.d.Due(who)
		r.pass(30 * time.Minute)
		a, b := r.times("a"), r.times("b")
		if len(a) < 5 || len(a)-len(b) > 1 {
			t.Fatalf("%d and %d kicks in half an hour", len(a), len(b))
		}
		pause := 10 * time.Second
		for i := range b {
			if got := b[i] - a[i]; !near(got, 30*time.Second) {
				t.Errorf("round %d: the second route is tried after %v", i, got)
			}
			if i+1 < len(a) {
				if got := a[i+1] - b[i]; got < pause*8/10 || got > pause*12/10+20*ms {
					t.Errorf("round %d is repeated after %v, want %v give or take a fifth", i, got, pause)
				}
			}
			pause = min(2*pause, 10*time.Minute)
		}
		r.pass(24 * time.Hour)
		r.counts("gave_up", 1)
		n := len(r.times("a"))
		r.pass(24 * time.Hour)
		if len(r.times("a")) != n {
			t.Error("kicked after it was given up")
		}
	}, plain, plain)
}

func TestNextOnlyOnFailure(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a", "two", "b")
		r.d.Due(who)
		r.pass(10 * time.Minute)
		if n := len(r.times("a")); n < 4 {
			t.Errorf("the first route is tried %d times", n)
		}
		r.kicked("b")
		r.in(map[string]error{"a": errTarget})
		r.pass(15 * time.Minute)
		if len(r.times("b")) == 0 {
			t.Error("the second route is not tried when the first fails")
		}
		r.d.Stop(who)
	}, func(p *kickdrivers.Policy) { p.NextAfter = 0 }, plain)
}

// TestEventsDoNotStartTheListOver has more events than a device ever answers
// to: it still gets to its second route.
func TestEventsDoNotStartTheListOver(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a", "two", "b")
		for range 120 {
			r.d.Due(who)
			r.pass(time.Second)
		}
		if a, b := len(r.times("a")), len(r.times("b")); b < 2 || a > b+1 {
			t.Errorf("%d kicks by the first route, %d by the second", a, b)
		}
	}, plain, plain)
}

func TestRoutesThatCannotBeUsed(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a", "two", "b", "nobody", "c", "three", "d")
		r.mu.Lock()
		r.routes[who][0].Target = nil
		r.routes[who][1].Confirm = "K7TQ2MXB"
		r.mu.Unlock()
		r.d.Due(who)
		r.pass(20 * time.Second)
		for _, target := range []string{"a", "b", "c"} {
			r.kicked(target)
		}
		if at := r.times("d"); len(at) < 2 || !near(at[0], 300*ms) {
			t.Errorf("the only route that can be used was tried at %v", at)
		}
		r.mu.Lock()
		r.routes[who], _ = r.routes[who].Confirmed("K7TQ2MXB")
		r.mu.Unlock()
		r.pass(time.Minute)
		if len(r.times("b")) == 0 {
			t.Error("the route that was confirmed is not tried")
		}
	}, plain, plain, plain)
}

func TestAllGoneOrRefused(t *testing.T) {
	bubble(t, func(r *rig) {
		r.in(map[string]error{"a": edition.ErrGone, "b": edition.ErrGone, "c": edition.ErrForbidden})
		gone, mixed := r.device("one", "a", "two", "b"), r.device("one", "a", "two", "c")
		r.d.Due(gone)
		r.d.Due(mixed)
		r.pass(time.Minute)
		r.held(1)
		r.counts("gone", 3)
		r.counts("refused", 1)
		r.pass(10 * time.Hour)
		r.counts("refused", 1)
		r.d.Due(mixed) // a new event
		r.pass(time.Second)
		r.counts("refused", 2)
		if n := gauge(t, r.reg, "edition_kickdrivers_no_route_total"); n != 0 {
			t.Errorf("%v devices are counted that told no route", n)
		}
	}, plain, plain)
}

// TestBreakerAndList has a provider that is down: those who have another route
// do not wait for it, the others do.
func TestBreakerAndList(t *testing.T) {
	bubble(t, func(r *rig) {
		down := make(map[string]error)
		for i := range 40 {
			down[fmt.Sprint(i)] = edition.ErrUnavailable
		}
		r.in(down)
		for i := range 30 {
			r.d.Due(r.device("one", fmt.Sprint(i), "two", fmt.Sprint("b", i)))
		}
		for i := range 10 {
			r.d.Due(r.device("one", fmt.Sprint(30+i)))
		}
		r.pass(5 * time.Second)
		if n := countedBy(t, r.reg, "two", "sent"); n != 30 {
			t.Errorf("%d of 30 were kicked by their second route", n)
		}
		if n := countedBy(t, r.reg, "one", "failed"); n > 10 {
			t.Errorf("%d attempts at a provider that is down", n)
		}
		r.in(nil)
		r.pass(40 * time.Second)
		for i := range 10 {
			if len(r.times(fmt.Sprint(30+i))) == 0 {
				t.Errorf("device %d was never kicked by its only route", 30+i)
			}
		}
	}, func(p *kickdrivers.Policy) { p.Rate, p.Burst = 5, 5 }, plain)
}

// TestRetryAfterOfAProvider stops all kicks for as long as it asks, at the
// first failure.
func TestRetryAfterOfAProvider(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(string) error { return edition.RetryAfter(edition.ErrUnavailable, 42*time.Second) })
		r.d.Due(r.device("one", "a"))
		r.pass(time.Second)
		r.counts("breaker_open", 1)
		r.d.Due(r.device("one", "b"))
		r.in(nil)
		r.pass(40 * time.Second)
		r.kicked("b")
		r.pass(3 * time.Second)
		r.kicked("b", 42300*ms)
	})
}

func TestTargetOverItsBudgetGoesOn(t *testing.T) {
	bubble(t, func(r *rig) {
		r.in(map[string]error{"a": edition.RetryAfter(edition.ErrTooMany, time.Hour)})
		r.d.Due(r.device("one", "a", "two", "b"))
		r.pass(29 * time.Second)
		r.kicked("b")
		r.pass(2 * time.Second)
		r.kicked("b", 30300*ms)
	}, plain, plain)
}

// TestFullWithLists fills the dispatcher with devices that wait for their next
// route: they keep their places, for that is soon.
func TestFullWithLists(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 10 {
			r.d.Due(r.device("one", fmt.Sprint(i), "two", fmt.Sprint("b", i)))
		}
		r.pass(20 * time.Second)
		if r.d.Found(r.device("one", "new")) {
			t.Error("took the place of one that waits for its next route")
		}
		r.pass(20 * time.Second)
		if n := countedBy(t, r.reg, "two", "sent"); n != 10 {
			t.Errorf("%d of 10 were kicked by their second route", n)
		}
		r.pass(15 * time.Second)
		if !r.d.Found(r.device("one", "new")) {
			t.Error("no room though all have had their round")
		}
	}, func(p *kickdrivers.Policy) { p.MaxWaiting = 5 }, func(p *kickdrivers.Policy) { p.MaxWaiting = 5 })
}

func TestFullWithListsThatWaitLong(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range 10 {
			r.d.Due(r.device("one", fmt.Sprint(i), "two", fmt.Sprint("b", i)))
		}
		r.pass(20 * time.Second)
		if !r.d.Found(r.device("one", "new")) {
			t.Error("no room for an hour, until the next routes are due")
		}
	}, func(p *kickdrivers.Policy) { p.NextAfter, p.MaxWaiting = time.Hour, 5 }, func(p *kickdrivers.Policy) { p.MaxWaiting = 5 })
}

// TestManyAimAtOne is the attack: a thousand devices name one address.
func TestManyAimAtOne(t *testing.T) {
	bubble(t, func(r *rig) {
		for range 1000 {
			who := r.device("one", "victim", "one", "victim2")
			r.d.Due(who)
			r.d.Challenge(who)
		}
		other := r.device("one", "other")
		r.d.Due(other)
		const minutes = 10
		r.pass(minutes * time.Minute)
		for _, target := range []string{"victim", "victim2"} {
			if n := len(r.times(target)); n < minutes*60/4 || n > minutes*60+6 {
				t.Errorf("%s was kicked %d times in %d minutes, want 1 a second at most, and 5 at once", target, n, minutes)
			}
			var first int
			for _, at := range r.times(target) {
				if at < time.Second {
					first++
				}
			}
			if first > 6 {
				t.Errorf("%s was kicked %d times in the first second", target, first)
			}
		}
		if at := r.times("other"); len(at) == 0 || !near(at[0], 300*ms) {
			t.Errorf("another target was kicked at %v", at)
		}
	}, func(p *kickdrivers.Policy) { p.TargetRate, p.TargetBurst, p.Rate, p.RetryMax = 1, 5, 0, 10*time.Second })
}

// TestBudgetInABatch has one target twice in a batch among others: the results
// of the rest are not mixed up.
func TestBudgetInABatch(t *testing.T) {
	bubble(t, func(r *rig) {
		r.in(map[string]error{"bad": errTarget})
		for _, target := range []string{"a", "victim", "victim", "bad", "victim", "b"} {
			r.d.Due(r.device("one", target))
		}
		r.pass(time.Second)
		r.counts("sent", 3)
		r.counts("failed", 1)
		r.counts("rate_limited", 2)
		if n := len(r.times("victim")); n != 1 {
			t.Errorf("%d kicks of a target with a budget of one", n)
		}
	}, func(p *kickdrivers.Policy) { p.TargetRate, p.TargetBurst = 0.01, 1 })
}

func TestAckIsMeasured(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Acked(who) // nobody kicked it
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Acked(who) // a late one: it has not connected
		r.d.Stop(who)
		r.pass(time.Second)
		r.held(1)
		r.d.Acked(who)
		r.d.Acked(who)
		r.measured("edition_kickdrivers_connect_seconds", 1, 0.69)
		r.measured("edition_kickdrivers_ack_seconds", 1, 1.69)
		r.pass(5 * time.Second)
		r.held(0)

		// By a poll: it leaves before it acknowledges, and is due meanwhile.
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Stop(who)
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Acked(who)
		r.measured("edition_kickdrivers_ack_seconds", 2, 1.69+1.69)
		r.set(who, false)
		r.pass(time.Minute)
		r.held(0)

		// It connects, and nothing ever comes back.
		r.set(who, true)
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Stop(who)
		r.pass(59 * time.Second)
		r.held(1)
		r.pass(2 * time.Second)
		r.held(0)
		r.d.Acked(who)
		r.measured("edition_kickdrivers_ack_seconds", 2, 3.38)
	})
}

// measured expects so many samples of a histogram, and their sum, give or take
// two hundredths for each.
func (r *rig) measured(name string, n uint64, sum float64) {
	r.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if got := h.GetSampleSum(); h.GetSampleCount() != n || got < sum-0.02*float64(n) || got > sum+0.02*float64(n) {
			r.Errorf("%s: %d samples, %v s in all; want %d, %v s", name, h.GetSampleCount(), got, n, sum)
		}
		return
	}
	r.Errorf("%s is not measured", name)
}

// TestConfirm checks a route that has to be confirmed, from the code to the
// first kick.
func TestConfirm(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		routes, err := r.d.Check(json.RawMessage(`[{"driver":"two","to":"7"},{"driver":"one","to":"8"},{"driver":"two","to":"9"}]`), from, 300)
		if err != nil {
			t.Fatal(err)
		}
		code, other := routes[0].Confirm, routes[2].Confirm
		if len(code) != 8 || len(other) != 8 || code == other || routes[1].Confirm != "" {
			t.Fatalf("the codes are %q, %q and %q", code, routes[1].Confirm, other)
		}
		r.mu.Lock()
		r.routes[who] = routes
		r.mu.Unlock()
		r.d.Challenge(who)
		r.pass(time.Second)
		for _, want := range []kick{{entry: "two", target: "7", code: code}, {entry: "two", target: "9", code: other}} {
			if n := r.exactly(want); n != 1 {
				t.Errorf("%+v was kicked %d times", want, n)
			}
		}
		r.kicked("8")
		r.d.Due(who)
		r.pass(time.Minute)
		if r.exactly(kick{entry: "two", target: "7"}) != 0 || len(r.times("8")) == 0 {
			t.Error("a route that waits for its code was used, or the other was not")
		}
		r.mu.Lock()
		r.routes[who], _ = r.routes[who].Confirmed(code)
		r.mu.Unlock()
		r.pass(5 * time.Minute)
		if r.exactly(kick{entry: "two", target: "7"}) == 0 {
			t.Error("a route that was confirmed is not used")
		}
		r.d.Challenge(who) // once each, when asked
		r.pass(time.Second)
		if n := r.exactly(kick{entry: "two", target: "9", code: other}); n != 2 {
			t.Errorf("the code was sent %d times, want twice", n)
		}
	}, plain, func(p *kickdrivers.Policy) { p.Confirm = true })
}

// exactly counts the kicks of an entry, a target and a code.
func (r *rig) exactly(want kick) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kicks {
		if k.entry == want.entry && k.target == want.target && k.code == want.code {
			n++
		}
	}
	return n
}

// TestGoneWhenChallenged is told too: the device would wait for the code.
func TestGoneWhenChallenged(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.mu.Lock()
		r.routes[who][0].Confirm = "K7TQ2MXB"
		r.mu.Unlock()
		r.in(map[string]error{"a": edition.ErrGone})
		r.d.Challenge(who)
		r.pass(time.Second)
		if !slices.Equal(r.forgot, []edition.Holder{who}) {
			t.Errorf("forgot %v", r.forgot)
		}
	})
}
