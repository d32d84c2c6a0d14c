package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func TestHello(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	wrong := wire.Agent{UAID: v.UAID, Secret: edition.NewSecret()}
	none := wire.Agent{UAID: v.UAID}
	stranger := newDevice().claim()

	c := d.connect()
	for _, tt := range []struct {
		name             string
		agents           []wire.Agent
		accepted, denied []edition.UAID
	}{
		{"empty", nil, nil, nil},
		{"wrong secret", []wire.Agent{wrong}, nil, []edition.UAID{v.UAID}},
		{"no secret", []wire.Agent{none}, nil, []edition.UAID{v.UAID}},
		{"unknown", []wire.Agent{stranger}, nil, []edition.UAID{stranger.UAID}},
		{"one of two", []wire.Agent{stranger, v.claim()}, []edition.UAID{v.UAID}, []edition.UAID{stranger.UAID}},
		{"shown before", []wire.Agent{none}, []edition.UAID{v.UAID}, nil},
		{"twice", []wire.Agent{v.claim(), v.claim()}, []edition.UAID{v.UAID}, nil},
		{"wrong after right", []wire.Agent{wrong}, nil, []edition.UAID{v.UAID}},
	} {
		c.say(wire.Message{Type: wire.TypeHello, Agents: tt.agents})
		m := c.hear(wire.TypeHello)
		if m.Status != 200 || !slices.Equal(m.UAIDs, tt.accepted) || !slices.Equal(m.Refused, tt.denied) {
			t.Errorf("%s: accepted %v, refused %v; want %v, %v", tt.name, m.UAIDs, m.Refused, tt.accepted, tt.denied)
		}
		if m.UAIDs == nil || m.Refused == nil {
			t.Errorf("%s: the lists are to be there when they are empty", tt.name)
		}
	}
	d.deliver(v.Key, 1)
	c.update(v.Key, 1)
}

// Who has the wrong secret changes nothing for who has the right one.
func TestWrongSecretIsNotNoticed(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	holder := d.connect()
	holder.hello(v)
	thief := v
	thief.secret = edition.NewSecret()

	c := d.connect()
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{thief.claim()}})
	if m := c.hear(wire.TypeHello); len(m.UAIDs) != 0 {
		t.Fatal("accepted")
	}
	for _, kind := range []string{wire.TypeRegister, wire.TypeUnregister, wire.TypeKick} {
		c.say(wire.Message{
			Type: kind, UAID: &thief.UAID, AppID: &thief.AppID, Secret: thief.secret,
			Kick: json.RawMessage(`{"driver":"udp"}`),
		})
		c.wantError(401, kind, "missing or wrong")
	}
	c.ack(event(thief, edition.MaxVersion))
	c.barrier()
	for _, path := range []string{wire.PathRegister, wire.PathUnregister, wire.PathKick} {
		if status, body := d.post(path, wire.RegisterRequest{
			UAID: &thief.UAID, AppID: &thief.AppID, Secret: thief.secret, Kick: json.RawMessage(`{"driver":"udp"}`),
		}); status != 401 {
			t.Error(path, status, body)
		}
	}
	if status, _ := d.post(wire.PathUpdate, wire.UpdateRequest{Agents: []wire.Agent{thief.claim()}, Wait: "1s"}); status != 401 {
		t.Error("poll:", status)
	}
	if status, _ := d.post(wire.PathAck, wire.AckRequest{
		Agents: []wire.Agent{thief.claim()}, Updates: wire.Updates{event(v, 1)},
	}); status != 401 {
		t.Error("ack:", status)
	}

	holder.barrier()
	d.deliver(v.Key, 1)
	holder.update(v.Key, 1)
	if d.routes(edition.Holder{UAID: v.UAID}) != "" {
		t.Error("a route was set")
	}
}

func TestRegister(t *testing.T) {
	d := open(t, nil)
	v := newDevice()
	c := d.connect()
	reg := wire.Message{
		Type: wire.TypeRegister, UAID: &v.UAID, AppID: &v.AppID, Secret: v.secret,
		Kick: json.RawMessage(`{"driver":"udp","port":4000}`),
	}
	c.say(reg)
	m := c.hear(wire.TypeRegister)
	if m.Status != 201 || *m.UAID != v.UAID || *m.AppID != v.AppID || m.Endpoint != "https://push.example/v1/e/"+v.AppID.String() {
		t.Fatalf("%+v", m)
	}
	b, _ := json.Marshal(reg)
	rs, err := d.store.Routes(edition.Holder{UAID: v.UAID})
	want := fmt.Sprintf(`{"from":"127.0.0.1","size":%d}`, len(b))
	if err != nil || len(rs) != 1 || rs[0].Driver != "udp" || string(rs[0].Target) != want {
		t.Errorf("routes %q, want udp %s", rs, want)
	}
	// As after a hello: its updates come here, and it need not show its secret.
	d.deliver(v.Key, 4)
	c.update(v.Key, 4)
	reg.Secret, reg.Kick = "", nil
	c.say(reg)
	if again := c.hear(wire.TypeRegister); again.Status != 201 || again.Endpoint != m.Endpoint {
		t.Errorf("%+v", again)
	}
	if d.routes(edition.Holder{UAID: v.UAID}) != "udp" {
		t.Error("a registration without a kick has taken the route away")
	}
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Kick: json.RawMessage(`null`)})
	if m := c.hear(wire.TypeKick); m.Status != 200 {
		t.Errorf("%+v", m)
	}
	if d.routes(edition.Holder{UAID: v.UAID}) != "" {
		t.Error("null has not taken the route away")
	}
	c.say(wire.Message{Type: wire.TypeUnregister, UAID: &v.UAID, AppID: &v.AppID})
	if m := c.hear(wire.TypeUnregister); m.Status != 200 || *m.AppID != v.AppID {
		t.Errorf("%+v", m)
	}
	if _, err := d.store.State(v.Key); !errors.Is(err, edition.ErrGone) {
		t.Error("state after unregister:", err)
	}
}

func TestRegistrationRefused(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	app := edition.NewAppID().String()
	for _, tt := range []struct {
		name, body     string
		status, unlike int // unlike: the status over REST where it differs
		detail         string
	}{
		{"no uaid", `"appid":"` + app + `"`, 400, 0, "names a uaid"},
		{"no appid", `"uaid":"` + v.UAID.String() + `","secret":"` + v.secret + `"`, 400, 0, "appid"},
		{"a uaid that is none", `"uaid":"0b3c8e7e","appid":"` + app + `"`, 400, 0, "not a UUIDv4"},
		{"a uaid of version 1", `"uaid":"0b3c8e7e-4d2f-1a6b-9c1d-2e5f7a8b9c0d"`, 400, 0, "not a UUIDv4"},
		{"a secret that is none", `"uaid":"` + v.UAID.String() + `","appid":"` + app + `","secret":"x"`, 400, 0, "32 random bytes"},
		{"no secret", `"uaid":"` + v.UAID.String() + `","appid":"` + app + `"`, 401, 0, "missing or wrong"},
		{"unknown, no secret", `"uaid":"` + edition.NewUAID().String() + `","appid":"` + app + `"`, 401, 0, "missing or wrong"},
		{"a device's proof", `"uaid":"` + v.UAID.String() + `","appid":"` + app + `","proof":"` + proofText(v) + `"`, 403, 0, "only a relay"},
		{"a kick that is not allowed", `"uaid":"` + v.UAID.String() + `","appid":"` + app + `","secret":"` + v.secret + `","kick":{"driver":"pager"}`, 403, 0, "no driver"},
		{"a kick that is none", `"uaid":"` + v.UAID.String() + `","appid":"` + app + `","secret":"` + v.secret + `","kick":7`, 400, 0, "kick"},
	} {
		c := d.connect()
		c.say(`{"type":"register",` + tt.body + `}`)
		c.wantError(tt.status, wire.TypeRegister, tt.detail)
		c.barrier()
		if status, body := d.request(wire.PathRegister, `{`+tt.body+`}`); status != tt.status || !strings.Contains(body, tt.detail) {
			t.Errorf("%s: REST %d %s", tt.name, status, body)
		}
	}
	if _, err := d.store.State(edition.Key{UAID: v.UAID, AppID: mustApp(app)}); err == nil {
		t.Error("a refused registration was made")
	}
}

func proofText(v device) string {
	b, _ := v.proof().MarshalText()
	return string(b)
}

func mustApp(s string) edition.AppID {
	a, err := edition.ParseAppID(s)
	if err != nil {
		panic(err)
	}
	return a
}

// A relay's upstream is away: registrations say when to come back, who is known
// is served.
func TestUpstreamAway(t *testing.T) {
	d := open(t, nil)
	away := edition.RetryAfter(fmt.Errorf("%w: upstream is away", edition.ErrUnavailable), 7e9)
	d.reg.fail = away
	d.reg.claim = func([]edition.Credential, edition.Owner) ([]edition.UAID, error) { return nil, away }
	v, stranger := d.registered(edition.Direct), newDevice()

	c := d.connect()
	c.say(wire.Message{Type: wire.TypeRegister, UAID: &stranger.UAID, AppID: &stranger.AppID, Secret: stranger.secret})
	if m := c.hear(wire.TypeError); m.Status != 503 || m.RetryAfter != 7 {
		t.Errorf("%+v", m)
	}
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{stranger.claim()}})
	c.wantError(503, wire.TypeHello, "upstream is away")
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{stranger.claim(), v.claim()}})
	if m := c.hear(wire.TypeHello); !slices.Equal(m.UAIDs, []edition.UAID{v.UAID}) {
		t.Errorf("%+v", m)
	}
	d.deliver(v.Key, 1)
	c.update(v.Key, 1)
}

func TestUnknownDevicesAreClaimedAndKnownOnesPresented(t *testing.T) {
	d := open(t, nil)
	v, roamed, stranger := d.registered(edition.Direct), newDevice(), newDevice()
	d.reg.claim = func(who []edition.Credential, owner edition.Owner) ([]edition.UAID, error) {
		if len(who) != 2 || who[0] != (edition.Credential{UAID: roamed.UAID, Proof: roamed.proof()}) || owner != edition.Direct {
			t.Errorf("claimed %v for %d", who, owner)
		}
		err := d.store.Bind(context.Background(), edition.Agent{UAID: roamed.UAID, Proof: roamed.proof(), Upstream: "up"})
		return []edition.UAID{roamed.UAID}, err
	}
	c := d.connect()
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{roamed.claim(), stranger.claim(), v.claim()}})
	m := c.hear(wire.TypeHello)
	if !slices.Equal(m.UAIDs, []edition.UAID{v.UAID, roamed.UAID}) || !slices.Equal(m.Refused, []edition.UAID{stranger.UAID}) {
		t.Errorf("%+v", m)
	}
	if p := d.reg.present; len(p) != 1 || p[0].UAID != v.UAID || p[0].Proof != v.proof() {
		t.Errorf("presented %v", p)
	}
	d.hub.Deliver(edition.Update{event(roamed, 3)}, edition.Delivery{Adopt: true})
	c.update(roamed.Key, 3)
}

func TestTooManyUAIDs(t *testing.T) {
	d := open(t, func(o *Options) { o.Limits.Agents = 3 })
	var all []device
	for range 4 {
		all = append(all, d.registered(edition.Direct))
	}
	c := d.connect()
	m := wire.Message{Type: wire.TypeHello}
	for _, v := range all {
		m.Agents = append(m.Agents, v.claim())
	}
	c.say(m)
	c.wantError(413, wire.TypeHello, "more than 3 UAIDs")
	c.hello(all[:2]...)
	c.hello(all[1:3]...) // one more
	c.say(wire.Message{Type: wire.TypeHello, Agents: m.Agents[3:]})
	c.wantError(413, wire.TypeHello, "more than 3 UAIDs")
	c.say(wire.Message{Type: wire.TypeRegister, UAID: &all[3].UAID, AppID: &all[3].AppID, Secret: all[3].secret})
	c.wantError(413, wire.TypeRegister, "more than 3 UAIDs")
	if status, body := d.post(wire.PathUpdate, wire.UpdateRequest{Agents: m.Agents}); status != 413 {
		t.Error("poll:", status, body)
	}
}

// 100,000 UAIDs in one hello are a message far over the limit.
func TestHelloOfAHundredThousand(t *testing.T) {
	d := open(t, nil)
	agent := `{"uaid":"0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`
	hello := `{"type":"hello","agents":[` + strings.Repeat(agent+",", 99_999) + agent + `]}`
	c := d.connect()
	go c.ws.WriteMessage(websocket.TextMessage, []byte(hello)) // is cut off
	c.wantError(413, "", "at most 65536 bytes")
	c.wantClosed(websocket.CloseMessageTooBig, "at most 65536 bytes")
}
