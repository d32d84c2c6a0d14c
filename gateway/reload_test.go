package gateway_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/edition-push/edition/gateway"
	"github.com/edition-push/edition/wire"
)

// TestCallersAreReloaded changes tokens and rights, takes a caller away and lets
// another come; what a caller has asked for stays its own.
func TestCallersAreReloaded(t *testing.T) {
	k := new(fakeKicks)
	o := options(k)
	g := gateway.New(o)
	body := fmt.Sprintf(`{"uaid":%q}`, device)
	mine, others := ask(t, g, tokenHQ, body), ask(t, g, tokenOther, body)
	const fresh = "a-token-that-is-new"

	hq := o.Callers[0]
	hq.Tokens = []string{fresh, tokenHQ}
	g.Reload([]gateway.Caller{{Name: "third", Tokens: []string{"the-token-of-the-third"}, Rights: hq.Rights}, hq})
	for _, token := range []string{fresh, tokenHQ} { // both count
		if got := outcome(t, g, token, mine.ID); got.State != "waiting" {
			t.Errorf("after the reload: %+v", got)
		}
	}
	ask(t, g, "the-token-of-the-third", body)
	expect(t, "a caller that was removed", call(g, "POST", wire.PathKicks, tokenOther, body), 401, "nobody's")
	expect(t, "its outcome", call(g, "GET", wire.PathKicks+"/"+others.ID, fresh, ""), 404, "no such kick")

	hq.Tokens, hq.Networks = []string{fresh}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	other := o.Callers[1]
	g.Reload([]gateway.Caller{hq, other})
	expect(t, "the old token", call(g, "POST", wire.PathKicks, tokenHQ, body), 401, "nobody's")
	expect(t, "rights that were taken", call(g, "POST", wire.PathKicks, fresh, `{"kick":{"driver":"udp","ip":"10.1.2.3","port":4000},"from":"10.1.2.3"}`), 403, "outside the networks")
	expect(t, "a caller that is another by the same name", call(g, "GET", wire.PathKicks+"/"+others.ID, tokenOther, ""), 404, "no such kick")
	if got := outcome(t, g, fresh, mine.ID); got.State != "waiting" {
		t.Errorf("its outcome: %+v", got)
	}
}

// TestRateSurvivesAReload: who has used up its rate is not given another by a
// change of its token, but by one of its rate.
func TestRateSurvivesAReload(t *testing.T) {
	o := options(new(fakeKicks))
	o.Callers[0].Rate, o.Callers[0].Burst = 1e-6, 1
	g := gateway.New(o)
	body := fmt.Sprintf(`{"uaid":%q}`, device)
	ask(t, g, tokenHQ, body)
	hq := o.Callers[0]
	hq.Tokens = []string{tokenHQ, "one-more-that-counts"}
	g.Reload([]gateway.Caller{hq})
	expect(t, "over its rate", call(g, "POST", wire.PathKicks, tokenHQ, body), 429, "kicks a second")
	hq.Burst = 2
	g.Reload([]gateway.Caller{hq})
	ask(t, g, tokenHQ, body)
}

// TestReloadBesideRequests is for the race detector.
func TestReloadBesideRequests(t *testing.T) {
	o := options(new(fakeKicks))
	g := gateway.New(o)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				ask(t, g, tokenHQ, fmt.Sprintf(`{"uaid":%q}`, device))
			}
		})
	}
	for range 50 {
		g.Reload(o.Callers)
	}
	all.Wait()
}
