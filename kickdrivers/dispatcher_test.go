package kickdrivers_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

const ms = time.Millisecond

func TestGraceAndCoalescing(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		for range 100 {
			if !r.d.Due(who) {
				t.Fatal("full")
			}
			time.Sleep(ms)
		}
		r.pass(150 * ms)
		r.kicked("a")
		r.pass(5 * time.Second)
		r.kicked("a", 300*ms)
		r.counts("sent", 1)
	})
}

func TestGraceIsTheEntrysOwn(t *testing.T) {
	bubble(t, func(r *rig) {
		r.pass(3 * ms) // between two ticks: never early
		r.d.Due(r.device("one", "a"))
		r.d.Due(r.device("two", "b"))
		r.pass(5 * time.Second)
		r.kicked("a", 303*ms)
		r.kicked("b", 2003*ms)
	}, func(*kickdrivers.Policy) {}, func(p *kickdrivers.Policy) { p.Grace = 2 * time.Second })
}

func TestReconnectWithinGrace(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(200 * ms)
		r.d.Stop(who)
		r.held(0)
		r.pass(time.Hour)
		r.kicked("a")
		r.counts("answered", 0)
	})
}

func TestAckOrExpiryWithinGrace(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Due(who)
		r.set(who, false)
		r.pass(time.Hour)
		r.kicked("a")
		r.held(0)
	})
}

func TestMinIntervalSpansConnections(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Stop(who) // the kick worked
		r.counts("answered", 1)
		r.pass(100 * ms)
		r.d.Due(who) // away again, and something new
		r.pass(7 * time.Second)
		r.kicked("a", 300*ms, 5300*ms)
		r.d.Stop(who)
		r.d.Acked(who)
		r.pass(6 * time.Second)
		r.held(0)
		r.d.Due(who)
		r.pass(time.Second)
		r.kicked("a", 300*ms, 5300*ms, 14400*ms)
		r.counts("answered", 2)
	})
}

func TestConnectIsMeasured(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Stop(who)
		families, err := r.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "edition_kickdrivers_connect_seconds" {
				h := f.GetMetric()[0].GetHistogram()
				if h.GetSampleCount() != 1 || h.GetSampleSum() < 0.68 || h.GetSampleSum() > 0.7 {
					t.Errorf("%d samples, %v s; want one of 0.7 s", h.GetSampleCount(), h.GetSampleSum())
				}
				return
			}
		}
		t.Error("not measured")
	})
}

// TestRetries follows one device that never comes, to the end of give_up.
func TestRetries(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(24*time.Hour + time.Minute)
		at := r.times("a")
		want := 10 * time.Second
		for i := 1; i < len(at); i++ {
			gap := at[i] - at[i-1]
			if gap < want*8/10 || gap > want*12/10+20*ms {
				t.Errorf("kick %d came %v after the one before, want %v give or take a fifth", i, gap, want)
			}
			want = min(2*want, 10*time.Minute)
		}
		if n := len(at); n < 120 || n > 200 {
			t.Errorf("%d kicks in a day", n)
		}
		r.counts("gave_up", 1)
		r.counts("unanswered", len(at))

		// Given up is given up, however often the store is searched.
		r.d.Found(who)
		r.pass(48 * time.Hour)
		r.d.Found(who)
		r.counts("sent", len(at))
		r.held(1)

		// A new event starts over.
		r.d.Due(who)
		r.pass(time.Second)
		r.counts("sent", len(at)+1)
		r.pass(13 * time.Second)
		r.counts("sent", len(at)+2)

		// What has expired is let go.
		r.set(who, false)
		r.pass(time.Hour)
		r.held(0)
	})
}

func TestGivenUpIsLetGoWhenExpired(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(25 * time.Hour)
		r.counts("gave_up", 1)
		r.set(who, false)
		r.pass(61 * time.Minute)
		r.held(0)
	})
}

func TestNewEventStartsOver(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.d.Due(who)
		// However the backoffs vary, the sixth kick comes before 6m15s and
		// the seventh after 8m20s.
		r.pass(7 * time.Minute)
		n := len(r.times("a"))
		r.d.Found(who) // changes nothing
		r.pass(2 * time.Second)
		if len(r.times("a")) != n {
			t.Fatal("a search of the store brought a kick forward")
		}
		r.d.Due(who)
		r.pass(2 * time.Second)
		at := r.times("a")
		if len(at) != n+1 {
			t.Fatalf("%d kicks after a new event, want %d", len(at), n+1)
		}
		r.pass(13 * time.Second) // the backoff is back at its start
		if len(r.times("a")) != n+2 {
			t.Error("the retries did not start over")
		}
	})
}

func TestNoRoute(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("", "")
		r.d.Due(who)
		r.pass(time.Second)
		r.held(0)
		if n := gauge(t, r.reg, "edition_kickdrivers_no_route_total"); n != 1 {
			t.Errorf("%v parties without a route are counted", n)
		}
	})
}

func TestRouteCannotBeRead(t *testing.T) {
	bubble(t, func(r *rig) {
		r.noRoute = edition.ErrUnavailable
		r.d.Due(r.device("one", "a"))
		r.pass(2 * time.Second)
		r.kicked("a")
		r.mu.Lock()
		r.noRoute = nil
		r.mu.Unlock()
		r.pass(time.Second)
		if len(r.times("a")) != 1 {
			t.Error("not kicked when the store could be read again")
		}
	})
}

func TestRouteOfADriverThatIsNoMore(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("gone", "a")
		r.d.Due(who)
		r.pass(time.Minute)
		r.held(1)
		r.mu.Lock()
		r.routes[who] = edition.Routes{{Driver: "one", Target: []byte("a")}}
		r.mu.Unlock()
		r.d.Due(who)
		r.pass(time.Second)
		if len(r.times("a")) != 1 {
			t.Error("not kicked by its new route")
		}
	})
}

func TestGone(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := r.device("one", "a"), r.device("one", "b")
		r.answers(func(target string) error {
			if target == "b" { // the device tells a new route just now
				r.mu.Lock()
				r.routes[b] = edition.Routes{{Driver: "one", Target: []byte("new")}}
				r.mu.Unlock()
			}
			return fmt.Errorf("%w: unregistered", edition.ErrGone)
		})
		r.d.Due(a)
		r.d.Due(b)
		r.pass(time.Hour)
		r.kicked("a", 300*ms)
		r.kicked("b", 300*ms)
		r.counts("gone", 2)
		r.held(0)
		if len(r.forgot) != 1 || r.forgot[0] != a {
			t.Errorf("forgot %v, want only the route that was tried", r.forgot)
		}
	})
}

func TestRefusedIsNotRepeated(t *testing.T) {
	bubble(t, func(r *rig) {
		who := r.device("one", "a")
		r.answers(func(string) error { return edition.ErrForbidden })
		r.d.Due(who)
		r.pass(24 * time.Hour)
		r.kicked("a", 300*ms)
		r.counts("refused", 1)
		if len(r.forgot) != 0 {
			t.Error("forgot a route that the configuration may allow again")
		}
		r.d.Due(who)
		r.pass(time.Second)
		r.counts("refused", 2)
	})
}

func TestFailedIsRepeated(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(string) error { return errTarget })
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(13 * time.Second)
		r.counts("failed", 2)
		r.d.Stop(who)
		r.counts("answered", 0) // by no kick of ours
		r.pass(time.Hour)
		r.counts("failed", 2)
	})
}

func TestRetryAfter(t *testing.T) {
	bubble(t, func(r *rig) {
		r.answers(func(string) error { return edition.RetryAfter(edition.ErrTooMany, time.Minute) })
		r.d.Due(r.device("one", "a"))
		r.pass(59 * time.Second)
		r.kicked("a", 300*ms)
		r.pass(2 * time.Second)
		r.kicked("a", 300*ms, 60300*ms)
		r.counts("rate_limited", 2)
	})
}

// TestStopInFlight connects a device while the driver is still at work.
func TestStopInFlight(t *testing.T) {
	bubble(t, func(r *rig) {
		hold := make(chan struct{})
		r.answers(func(string) error { <-hold; return nil })
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Stop(who)
		r.pass(time.Second)
		close(hold)
		r.pass(time.Hour)
		r.kicked("a", 300*ms)
		r.counts("answered", 1)
		r.held(0)
	})
}

// TestStopAndDueInFlight has it go away again before the driver is done.
func TestStopAndDueInFlight(t *testing.T) {
	bubble(t, func(r *rig) {
		hold := make(chan struct{})
		r.answers(func(string) error { <-hold; return nil })
		who := r.device("one", "a")
		r.d.Due(who)
		r.pass(time.Second)
		r.d.Stop(who)
		r.d.Found(who)
		r.pass(time.Second)
		close(hold)
		r.pass(2 * time.Second)
		r.counts("answered", 1)
		r.pass(4 * time.Second)
		r.kicked("a", 300*ms, 5300*ms)
		r.counts("answered", 1)
	})
}

func TestShutdown(t *testing.T) {
	bubble(t, func(r *rig) {
		r.mu.Lock()
		r.answer = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		r.mu.Unlock()
		r.d.Due(r.device("one", "a"))
		r.d.Due(r.device("two", "b"))
		r.pass(time.Second)
		r.stop() // waits for the kicks under way
		if r.closed != 2 {
			t.Errorf("%d drivers were closed, want 2", r.closed)
		}
		who := r.device("one", "late")
		if !r.d.Due(who) {
			t.Error("a dispatcher at its end has the hub come back")
		}
		r.d.Stop(who)
		r.pass(time.Hour)
		r.kicked("late")
	}, func(*kickdrivers.Policy) {}, func(*kickdrivers.Policy) {})
}

func TestNoEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := kickdrivers.New(kickdrivers.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !d.Due(edition.Holder{Owner: 7}) {
			t.Error("full, where nobody is ever kicked")
		}
		d.Stop(edition.Holder{Owner: 7})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
