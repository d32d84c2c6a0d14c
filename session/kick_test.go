package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// challenged remembers to whom codes were sent.
type challenged struct {
	mu  sync.Mutex
	who []edition.Holder
}

func (c *challenged) send(who edition.Holder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.who = append(c.who, who)
}

// take returns to whom codes were sent since the last take.
func (c *challenged) take() []edition.Holder {
	c.mu.Lock()
	defer c.mu.Unlock()
	who := c.who
	c.who = nil
	return who
}

func openChallenging(t *testing.T) (*door, *challenged) {
	sent := new(challenged)
	return open(t, func(o *Options) { o.Challenge = sent.send }), sent
}

const twoKicks = `[{"driver":"udp"},{"driver":"sms","number":"+1"}]`

func TestConfirm(t *testing.T) {
	d, sent := openChallenging(t)
	v := newDevice()
	who := edition.Holder{UAID: v.UAID}
	c := d.connect()
	reg := wire.Message{Type: wire.TypeRegister, UAID: &v.UAID, AppID: &v.AppID, Secret: v.secret, Kick: json.RawMessage(twoKicks)}
	c.say(reg)
	if m := c.hear(wire.TypeRegister); m.Status != 201 || !slices.Equal(m.Confirming, []string{"sms"}) {
		t.Errorf("%+v", m)
	}
	if got := d.routes(who); got != "udp sms?" {
		t.Errorf("routes %q", got)
	}
	if got := sent.take(); !slices.Equal(got, []edition.Holder{who}) {
		t.Errorf("codes were sent to %v", got)
	}

	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Confirm: "WRONG234"})
	c.wantError(403, wire.TypeKick, "no route waits")
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Confirm: testCode})
	if m := c.hear(wire.TypeKick); m.Status != 200 || len(m.Confirming) != 0 {
		t.Errorf("%+v", m)
	}
	if got := d.routes(who); got != "udp sms" {
		t.Errorf("routes %q", got)
	}
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Confirm: testCode})
	c.wantError(403, wire.TypeKick, "no route waits")

	// What was confirmed stays so, and no code is sent again.
	c.say(reg)
	if m := c.hear(wire.TypeRegister); len(m.Confirming) != 0 {
		t.Errorf("%+v", m)
	}
	c.say(wire.Message{Type: wire.TypeRegister, UAID: &v.UAID, AppID: &v.AppID})
	c.hear(wire.TypeRegister)
	if got := sent.take(); len(got) != 0 || d.routes(who) != "udp sms" {
		t.Errorf("codes were sent to %v, routes %q", got, d.routes(who))
	}
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Kick: json.RawMessage(`{"driver":"sms","number":"+2"}`)})
	if m := c.hear(wire.TypeKick); !slices.Equal(m.Confirming, []string{"sms"}) || d.routes(who) != "sms?" || len(sent.take()) != 1 {
		t.Errorf("%+v, routes %q", m, d.routes(who))
	}
}

func TestConfirmOverREST(t *testing.T) {
	d, sent := openChallenging(t)
	v := newDevice()
	who := edition.Holder{UAID: v.UAID}
	kick := func(kick, confirm string, status int, want string) {
		t.Helper()
		q := wire.RegisterRequest{UAID: &v.UAID, Secret: v.secret, Kick: json.RawMessage(kick), Confirm: confirm}
		if got, body := d.post(wire.PathKick, q); got != status || !strings.Contains(body, want) {
			t.Errorf("kick %s confirm %q: %d %s, want %d %s", kick, confirm, got, body, status, want)
		}
	}
	status, body := d.post(wire.PathRegister, wire.RegisterRequest{
		UAID: &v.UAID, Secret: v.secret, AppID: &v.AppID, Kick: json.RawMessage(twoKicks),
	})
	if status != 201 || !strings.Contains(body, `"confirming":["sms"]`) || len(sent.take()) != 1 {
		t.Errorf("register: %d %s", status, body)
	}
	kick("", "WRONG234", 403, "no route waits")
	kick(twoKicks, testCode, 400, "either a kick or the code")
	kick("", "", 400, "either a kick or the code")
	kick("", testCode, 204, "")
	if got := d.routes(who); got != "udp sms" {
		t.Errorf("routes %q", got)
	}
	kick(twoKicks, "", 204, "")
	kick(`{"driver":"sms","number":"+2"}`, "", 200, `{"confirming":["sms"]}`)
	kick("null", "", 204, "")
	if got := d.routes(who); got != "" {
		t.Errorf("routes %q", got)
	}
}

// Codes cannot be guessed: wrong ones are limited by address, right ones are not.
// The clock stands still, so that no more may be guessed meanwhile.
func TestGuessedCodes(t *testing.T) { synctest.Test(t, testGuessedCodes) }

func testGuessedCodes(t *testing.T) {
	d := openInMemory(t, nil)
	v := d.registered(edition.Direct)
	post := func(kick, confirm string) int {
		status, _ := d.post(wire.PathKick, wire.RegisterRequest{
			UAID: &v.UAID, Secret: v.secret, Kick: json.RawMessage(kick), Confirm: confirm,
		})
		return status
	}
	for i := range 3 * guessBurst {
		if got := post(fmt.Sprintf(`{"driver":"sms","number":"%d"}`, i), ""); got != 200 {
			t.Fatal(got)
		}
		if got := post("", testCode); got != 204 {
			t.Fatal("a right code is refused:", got)
		}
	}
	wrong := 0
	for post("", "WRONG234") == 403 {
		if wrong++; wrong > 100*guessBurst {
			t.Fatal("codes may be guessed without end")
		}
	}
	if got := post("", "WRONG234"); wrong != guessBurst || got != 429 {
		t.Errorf("after %d wrong codes: %d", wrong, got)
	}
	c := d.connect()
	c.hello(v)
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Confirm: "WRONG234"})
	c.wantError(429, wire.TypeKick, "codes a second")
	time.Sleep(2 * time.Second)
	if got := post("", "WRONG234"); got != 403 {
		t.Errorf("two seconds later: %d", got)
	}
	c.ws.Close()
	d.close()
}

// A relay has routes of its own to confirm, and none of its devices'.
func TestRelayConfirms(t *testing.T) {
	d, sent := openChallenging(t)
	owner := d.relay("r1")
	v := d.registered(owner)
	c := d.connect(relayToken)
	c.say(wire.Message{Type: wire.TypeHello, Relay: "r1", Store: "store-of-r1"})
	c.hear(wire.TypeHello)
	c.say(wire.Message{Type: wire.TypeKick, Kick: json.RawMessage(`{"driver":"sms","number":"+1"}`)})
	if m := c.hear(wire.TypeKick); !slices.Equal(m.Confirming, []string{"sms"}) {
		t.Errorf("%+v", m)
	}
	if got := sent.take(); !slices.Equal(got, []edition.Holder{{Owner: owner}}) {
		t.Errorf("codes were sent to %v", got)
	}
	c.say(wire.Message{Type: wire.TypeKick, Confirm: testCode})
	if m := c.hear(wire.TypeKick); m.Status != 200 || d.routes(edition.Holder{Owner: owner}) != "sms" {
		t.Errorf("%+v", m)
	}
	p := v.behind()
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Proof: p.Proof, Confirm: testCode})
	c.wantError(403, wire.TypeKick, "stays with a relay")
}

// lose marks a party's routes of a driver as gone.
func (d *door) lose(who edition.Holder, driver string) {
	d.t.Helper()
	err := d.store.ChangeRoutes(d.t.Context(), who, func(old edition.Routes) edition.Routes {
		i := slices.IndexFunc(old, func(r edition.Route) bool { return r.Driver == driver })
		out, _ := old.Gone(old[i])
		return out
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// A route that is gone is told at each hello and poll until another is
// registered.
func TestGone(t *testing.T) {
	d := open(t, nil)
	v, other := d.registered(edition.Direct), d.registered(edition.Direct)
	c := d.connect()
	c.hello(v, other)
	set := func(kick string) {
		c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Kick: json.RawMessage(kick)})
		c.hear(wire.TypeKick)
	}
	told := func() string {
		t.Helper()
		again := d.connect()
		again.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{other.claim(), v.claim()}})
		m := again.hear(wire.TypeHello)
		if len(m.UAIDs) != 2 {
			t.Errorf("%+v", m)
		}
		ws, _ := json.Marshal(m.Gone)
		status, body := d.post(wire.PathUpdate, wire.UpdateRequest{Agents: []wire.Agent{v.claim()}})
		if m.Gone == nil && status != 204 || m.Gone != nil && (status != 200 || !strings.Contains(body, `"gone":`+string(ws))) {
			t.Errorf("hello told %s, the poll %d %s", ws, status, body)
		}
		return string(ws)
	}
	set(twoKicks)
	if got := told(); got != "null" {
		t.Error("told", got)
	}
	d.lose(edition.Holder{UAID: v.UAID}, "udp")
	want := `[{"uaid":"` + v.UAID.String() + `","drivers":["udp"]}]`
	for range 2 {
		if got := told(); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	c = d.connect()
	c.hello(v)
	set(twoKicks)
	if got := told(); got != "null" {
		t.Error("told", got)
	}
}

func TestRelayGone(t *testing.T) {
	d := open(t, nil)
	owner := d.relay("r1")
	hello := wire.Message{Type: wire.TypeHello, Relay: "r1", Store: "store-of-r1"}
	c := d.connect(relayToken)
	c.say(hello)
	if m := c.hear(wire.TypeHello); m.Gone != nil {
		t.Errorf("%+v", m)
	}
	c.say(wire.Message{Type: wire.TypeKick, Kick: json.RawMessage(`{"driver":"udp"}`)})
	c.hear(wire.TypeKick)
	d.lose(edition.Holder{Owner: owner}, "udp")
	c = d.connect(relayToken)
	c.say(hello)
	if m := c.hear(wire.TypeHello); len(m.Gone) != 1 || m.Gone[0].UAID != nil || !slices.Equal(m.Gone[0].Drivers, []string{"udp"}) {
		t.Errorf("%+v", m)
	}
	if status, body := d.request(wire.PathUpdate, `{"relay":"r1"}`, relayToken); status != 200 || !strings.Contains(body, `"gone":[{"drivers":["udp"]}]`) {
		t.Errorf("poll: %d %s", status, body)
	}
}
