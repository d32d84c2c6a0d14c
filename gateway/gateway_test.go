package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/wire"
)

func TestExplicitRoute(t *testing.T) {
	k := new(fakeKicks)
	g := gateway.New(options(k))
	s := ask(t, g, tokenHQ, `{"kick":{"driver":"udp","ip":"192.0.2.1","port":4000},"from":"::ffff:192.0.2.1","confirm":"ABCD1234"}`)
	w := k.last(t)
	if w.Who != (edition.Holder{}) || len(w.Routes) != 1 || w.Routes[0].Driver != "udp" || w.Confirm != "ABCD1234" {
		t.Errorf("to be sent: %+v", w)
	}
	if k.froms[0] != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("checked as from %s", k.froms[0])
	}
	if got := outcome(t, g, tokenHQ, s.ID); got.State != "waiting" || got.Outcome != "" || !got.Since.Equal(s.Since) {
		t.Errorf("before there is an outcome: %+v", got)
	}
	w.Report(kickdrivers.Result{
		Driver: "udp", Outcome: kickdrivers.RateLimited, Final: true,
		Err: edition.RetryAfter(fmt.Errorf("%w: budget", edition.ErrTooMany), 1500*time.Millisecond),
	})
	got := outcome(t, g, tokenHQ, s.ID)
	if want := (wire.WakeResult{Outcome: "rate_limited", Driver: "udp", Detail: "too many requests: budget", RetryAfter: 2}); got.WakeResult != want || got.State != "done" {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if seen, err := g.Outcome(s.ID); err != nil || seen.WakeResult != got.WakeResult {
		t.Errorf("for the operator: %+v, %v", seen, err)
	}
}

// TestByUAID: the device's own routes, as far as the caller may use them.
func TestByUAID(t *testing.T) {
	k := new(fakeKicks)
	g := gateway.New(options(k))
	body := fmt.Sprintf(`{"uaid":%q}`, device)
	s := ask(t, g, tokenHQ, body)
	w := k.last(t)
	if w.Who.UAID != device || w.Routes != nil || w.Allow("sms") || !w.Allow("udp") {
		t.Errorf("to be sent: %+v", w)
	}
	w.Report(kickdrivers.Result{Driver: "udp", Outcome: kickdrivers.Sent})
	if got := outcome(t, g, tokenHQ, s.ID); got.State != "waiting" || got.Outcome != "sent" {
		t.Errorf("sent, and maybe answered: %+v", got)
	}
	w.Report(kickdrivers.Result{Driver: "udp", Outcome: kickdrivers.Answered, Final: true})
	w.Report(kickdrivers.Result{Driver: "udp", Outcome: kickdrivers.Unanswered, Final: true})
	if got := outcome(t, g, tokenHQ, s.ID); got.State != "done" || got.Outcome != "answered" {
		t.Errorf("the last word is the first final one: %+v", got)
	}

	ask(t, g, tokenOther, body)
	if w := k.last(t); len(w.Routes) != 1 || w.Routes[0].Driver != "udp" || w.Who.UAID != device {
		t.Errorf("for a caller with fewer rights: %+v", w)
	}
	expect(t, "unknown device", call(g, "POST", wire.PathKicks, tokenHQ, fmt.Sprintf(`{"uaid":%q}`, nobody)), 404, "no way to be woken")

	o := options(k)
	o.Callers[0].Drivers = []string{"sms", "gw"}
	expect(t, "only ways that are not the caller's", call(gateway.New(o), "POST", wire.PathKicks, tokenHQ, body), 403, "may not use")
	o = options(k)
	o.Callers[0].Drivers, o.Callers[0].Networks = []string{"udp"}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	expect(t, "only addresses that are not the caller's", call(gateway.New(o), "POST", wire.PathKicks, tokenHQ, body), 403, "may not use")
	o = options(k)
	o.Routes = func(edition.Holder) (edition.Routes, error) { return nil, errors.New("disk on fire") }
	expect(t, "a store that fails", call(gateway.New(o), "POST", wire.PathKicks, tokenHQ, body), 500, "")
}

// TestDetailStays: by UAID a caller learns no address and no token from what a
// driver says.
func TestDetailStays(t *testing.T) {
	k := new(fakeKicks)
	g := gateway.New(options(k))
	s := ask(t, g, tokenHQ, fmt.Sprintf(`{"uaid":%q}`, device))
	k.last(t).Report(kickdrivers.Result{Driver: "udp", Outcome: kickdrivers.Failed, Err: errors.New("10.1.2.3 is unreachable"), Final: true})
	if got := outcome(t, g, tokenHQ, s.ID); got.Detail != "" || got.Outcome != "failed" {
		t.Errorf("got %+v", got)
	}
}

func TestRefused(t *testing.T) {
	k := new(fakeKicks)
	g := gateway.New(options(k))
	for _, c := range []struct {
		body   string
		status int
		detail string
	}{
		{``, 400, "not an object"},
		{`null`, 400, "neither"},
		{`[]`, 400, "not an object"},
		{`{}`, 400, "neither"},
		{`{"kick":null}`, 400, "neither"},
		{`{"kick":{}}`, 400, "kick is not"},
		{`{"kick":[]}`, 400, "kick is not"},
		{`{"kick":7}`, 400, "kick is not"},
		{`{"kick":"udp"}`, 400, "kick is not"},
		{`{"kick":{"ip":"10.1.1.1","port":1}}`, 400, "kick is not"},
		{`{"kick":[{"driver":"udp"},{}]}`, 400, "kick is not"},
		{`{"kick":[{"driver":"udp"},{"driver":"udp"},{"driver":"udp"},{"driver":"udp"},{"driver":"udp"}]}`, 400, "kick is not"},
		{`{"uaid":"x"}`, 400, ""},
		{`{"uaid":"00000000-0000-0000-0000-000000000000"}`, 400, ""},
		{fmt.Sprintf(`{"uaid":%q,"kick":{"driver":"udp"}}`, device), 400, "both"},
		{fmt.Sprintf(`{"uaid":%q,"confirm":"ABCD1234"}`, device), 400, "confirm"},
		{`{"kick":{"driver":"udp"},"confirm":"x\ny"}`, 400, "confirm"},
		{`{"kick":{"driver":"udp"},"from":"here"}`, 400, "not an object"},
		{`{"kick":{"driver":"udp"}} {"kick":{"driver":"udp"}}`, 400, "not an object"},
		{`{"kick":{"driver":"sms","msisdn":"+34"}}`, 403, `"sms"`},
		{`{"kick":[{"driver":"udp"},{"driver":"sms"}]}`, 403, `"sms"`},
		{`{"kick":{"driver":"udp","DRIVER":"sms"}}`, 403, `"sms"`},
		{`{"kick":{"driver":"strict"}}`, 403, "confirmed"},
	} {
		w := call(g, "POST", wire.PathKicks, tokenHQ, c.body)
		expect(t, c.body, w, c.status, c.detail)
	}
	if n := k.count(); n != 0 {
		t.Errorf("%d kicks were to be sent", n)
	}
	k.err = edition.RetryAfter(fmt.Errorf("%w: busy", edition.ErrTooMany), time.Second)
	expect(t, "a dispatcher that is busy", call(g, "POST", wire.PathKicks, tokenHQ, `{"kick":{"driver":"udp"}}`), 429, "busy")
	expect(t, "a fault", call(g, "POST", wire.PathKicks, tokenHQ, `{"kick":{"driver":"udp","panic":"x"}}`), 500, "")
}

// TestConfirmed: a caller who has routes confirmed itself may name them.
func TestConfirmed(t *testing.T) {
	k := new(fakeKicks)
	ask(t, gateway.New(options(k)), tokenOther, `{"kick":{"driver":"strict"}}`)
	if w := k.last(t); len(w.Routes) != 1 || w.Confirm != "" {
		t.Errorf("to be sent: %+v", w)
	}
}

func TestPathsAndMethods(t *testing.T) {
	g := gateway.New(options(new(fakeKicks)))
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", wire.PathKicks, 405, "POST"},
		{"PUT", wire.PathKicks, 405, "POST"},
		{"POST", wire.PathKicks + "/abc", 405, "GET, HEAD"},
		{"DELETE", wire.PathKicks + "/abc", 405, "GET, HEAD"},
		{"GET", wire.PathKicks + "/", 404, ""},
		{"GET", wire.PathKicks + "/abc/def", 404, ""},
		{"GET", "/", 404, ""},
		{"POST", "/v1/kick", 404, ""},
	} {
		w := call(g, c.method, c.path, tokenHQ, "{}")
		if got := w.Header().Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got, c.allow)
		}
		expect(t, c.method+" "+c.path, w, c.status, "")
	}
	w := call(g, "POST", wire.PathKicks, tokenHQ, `{"kick":{"driver":"udp"}}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	expect(t, "another content type", w, 415, "application/json")
}

func TestDrain(t *testing.T) {
	k := new(fakeKicks)
	g := gateway.New(options(k))
	s := ask(t, g, tokenHQ, `{"kick":{"driver":"udp"}}`)
	g.Drain()
	expect(t, "after Drain", call(g, "POST", wire.PathKicks, tokenHQ, `{"kick":{"driver":"udp"}}`), 503, "shutting down")
	outcome(t, g, tokenHQ, s.ID)
}

// TestKept: outcomes are kept for a time, and so many of each caller.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(new(fakeKicks))
		o.Keep, o.Outcomes = time.Minute, 3
		g := gateway.New(o)
		const body = `{"kick":{"driver":"udp","ip":"10.0.0.1"}}`
		theirs := ask(t, g, tokenOther, body)
		var mine []string
		for range 5 {
			mine = append(mine, ask(t, g, tokenHQ, body).ID)
			time.Sleep(time.Second)
		}
		for i, id := range mine {
			want := http.StatusOK
			if i < 2 {
				want = http.StatusNotFound
			}
			if w := call(g, "GET", wire.PathKicks+"/"+id, tokenHQ, ""); w.Code != want {
				t.Errorf("kick %d of 5, 3 kept: %d", i, w.Code)
			}
		}
		outcome(t, g, tokenOther, theirs.ID) // not pushed out by another caller's
		time.Sleep(time.Minute)
		for _, id := range append(mine, theirs.ID) {
			if _, err := g.Outcome(id); !errors.Is(err, edition.ErrNotFound) {
				t.Errorf("kept for more than a minute: %v", err)
			}
		}
	})
}

func TestConcurrent(t *testing.T) {
	k := new(fakeKicks)
	o := options(k)
	o.Outcomes = 10
	g := gateway.New(o)
	var wg sync.WaitGroup
	for n := range 8 {
		token := tokenHQ
		if n%2 == 1 {
			token = tokenOther
		}
		wg.Go(func() {
			for range 100 {
				s := ask(t, g, token, `{"kick":{"driver":"udp","ip":"10.0.0.1"}}`)
				k.last(t).Report(kickdrivers.Result{Outcome: kickdrivers.Sent, Final: true})
				call(g, "GET", wire.PathKicks+"/"+s.ID, token, "")
			}
		})
	}
	wg.Wait()
	if k.count() != 800 {
		t.Errorf("%d of 800 kicks", k.count())
	}
}
