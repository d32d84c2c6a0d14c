package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

func carriedUpdate() (edition.Update, []*edition.Body) {
	uaid, app := edition.NewUAID(), edition.NewAppID()
	var slots edition.SlotMaker
	full := &edition.Body{
		AppID: app, TTL: 90 * time.Second, Urgency: edition.UrgencyVeryLow, Receipt: true,
		Encoding: "aesgcm", Encryption: `salt="<&>"`, CryptoKey: "dh=\u0001", Data: bytes.Repeat([]byte{0xff}, edition.MaxBody),
	}
	u := edition.Update{
		{Key: edition.Key{UAID: uaid, AppID: app}, Version: 7},
		{Key: edition.Key{UAID: uaid, AppID: slots.Next(time.Now())}, Version: edition.MaxVersion},
		{Key: edition.Key{UAID: uaid, AppID: edition.TopicSlot(app, "t")}, Version: 0},
		{Key: edition.Key{UAID: edition.NewUAID(), AppID: app}, Version: 1},
	}.Normalize()
	bodies := make([]*edition.Body, len(u))
	for i, e := range u {
		switch {
		case e.AppID.IsSlot():
			if bodies[i] = full; e.AppID.IsTopic() {
				bodies[i] = &edition.Body{TTL: time.Minute, Withdrawn: true}
			}
		case e.Version == 7:
			bodies[i] = &edition.Body{AppID: app, TTL: time.Hour, Urgency: edition.UrgencyNormal, Data: []byte("data")}
		}
	}
	return u, bodies
}

func TestCarried(t *testing.T) {
	u, bodies := carriedUpdate()
	b := AppendCarrying(nil, 5, u, bodies)
	for i, e := range u {
		if bodies[i] == nil {
			continue
		}
		if one := len(AppendCarrying(nil, 5, edition.Update{e}, bodies[i:i+1])) - len(AppendUpdate(nil, 5, edition.Update{e})); one > CarriedSize(bodies[i]) {
			t.Errorf("a body takes %d bytes, more than %d", one, CarriedSize(bodies[i]))
		}
	}
	var m Message
	if err := Decode(b, &m); err != nil {
		t.Fatal(err)
	}
	good, got, bad := Bodies(edition.Update(m.Updates), m.Messages)
	if !slices.Equal(good, u) || len(bad) != 0 || !reflect.DeepEqual(got, bodies) {
		t.Errorf("got %v %v, bad %v", good, got, bad)
	}
	if text := string(AppendCarrying(nil, 5, u[:1], make([]*edition.Body, 1))); strings.Contains(text, "messages") {
		t.Error("messages where there are none: " + text)
	}
}

// Each malformed message spoils its own event only.
func TestCarriedMalformed(t *testing.T) {
	for name, spoil := range map[string]func(c *Carried){
		"no app":              func(c *Carried) { c.AppID = edition.AppID{} },
		"an urgency":          func(c *Carried) { c.Urgency = "soon" },
		"too much":            func(c *Carried) { c.Data = make([]byte, edition.MaxBody+1) },
		"a long encoding":     func(c *Carried) { c.Encoding = strings.Repeat("x", edition.MaxBodyHead+1) },
		"a long key":          func(c *Carried) { c.CryptoKey = strings.Repeat("x", edition.MaxBodyHead+1) },
		"another's slot":      func(c *Carried) { c.Slot = Slot(edition.NewAppID()) },
		"another's device":    func(c *Carried) { c.UAID = edition.NewUAID() },
		"another app's event": func(c *Carried) { c.AppID = edition.NewAppID() },
	} {
		u, bodies := carriedUpdate()
		for at := range u {
			if bodies[at] == nil || bodies[at].Withdrawn {
				continue
			}
			carried := CarriedBy(u, bodies)
			i := slices.IndexFunc(carried, func(c Carried) bool { return edition.AppID(c.Slot) == u[at].AppID && c.UAID == u[at].UAID })
			spoil(&carried[i])
			good, got, bad := Bodies(slices.Clone(u), carried)
			lost := edition.Update{u[at]}
			switch {
			case !u[at].AppID.IsSlot() && strings.HasPrefix(name, "another's"), // a version that carries nothing
				u[at].AppID.IsSlot() && name == "another app's event": // which a slot does not tell
				lost = nil
			}
			if !slices.Equal(bad, lost) || len(good)+len(bad) != len(u) || got != nil && len(got) != len(good) {
				t.Errorf("%s at %d: good %v, bad %v", name, at, good, bad)
			}
		}
	}
	app := edition.NewAppID()
	if b, ok := (&Carried{Slot: Slot(app), AppID: app, Withdrawn: true}).body(); ok {
		t.Errorf("what is no message is withdrawn: %+v", b)
	}
	withdrawn := &Carried{Slot: Slot(edition.TopicSlot(app, "t")), AppID: app, TTL: 5, Urgency: "soon", Receipt: true, Data: Data("x"), Withdrawn: true}
	if b, ok := withdrawn.body(); !ok || !reflect.DeepEqual(b, &edition.Body{TTL: 5 * time.Second, Withdrawn: true}) {
		t.Errorf("withdrawn: %+v", b)
	}
	u, _ := carriedUpdate()
	if good, got, bad := Bodies(slices.Clone(u), nil); got != nil || len(bad) != 2 || len(good) != 2 {
		t.Errorf("without any: %v %v %v", good, got, bad)
	}
	for ttl, want := range map[int64]time.Duration{1 << 62: edition.MaxBodyTTL, -1: time.Second, 5: 5 * time.Second} {
		c := Carried{AppID: app, Slot: Slot(app), TTL: ttl}
		if b, ok := c.body(); !ok || b.TTL != want {
			t.Errorf("a TTL of %d: %+v", ttl, b)
		}
	}
}

// FuzzCarried reads the messages of an UPDATE: what is good can be sent on, and
// is read as the same.
func FuzzCarried(f *testing.F) {
	u, bodies := carriedUpdate()
	for _, b := range bodies {
		if b != nil {
			b.Data = b.Data[:min(4, len(b.Data))]
		}
	}
	f.Add(AppendCarrying(nil, 1, u, bodies))
	f.Add([]byte(`{"type":"update","id":1,"updates":{},"messages":[{}]}`))
	f.Add([]byte(`{"type":"update","updates":{},"messages":[{"slot":"","ttl":-1,"data":"*"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		if Decode(b, &m) != nil {
			return
		}
		n := len(m.Updates)
		good, bodies, bad := Bodies(edition.Update(m.Updates), m.Messages)
		if len(good)+len(bad) != n || bodies != nil && len(bodies) != len(good) {
			t.Fatalf("%d good, %d bad, %d bodies of %d", len(good), len(bad), len(bodies), n)
		}
		var again Message
		if err := Decode(AppendCarrying(nil, 1, good, bodies), &again); err != nil {
			t.Fatal(err)
		}
		same, twice, none := Bodies(edition.Update(again.Updates), again.Messages)
		if len(none) != 0 || !slices.Equal(same, good) || (twice == nil) != (bodies == nil) && len(CarriedBy(good, bodies)) > 0 {
			t.Fatalf("read again: %v, bad %v", same, none)
		}
		for i := range twice {
			a, b := twice[i], bodies[i]
			if (a == nil) != (b == nil) || a != nil && (!bytes.Equal(a.Data, b.Data) || a.TTL != b.TTL || a.Withdrawn != b.Withdrawn || a.AppID != b.AppID || a.Urgency != b.Urgency) {
				t.Fatalf("%+v, then %+v", b, a)
			}
		}
	})
}

func TestClaims(t *testing.T) {
	agents := []Agent{{UAID: edition.NewUAID(), Secret: edition.NewSecret()}, {UAID: edition.NewUAID(), Secret: edition.NewSecret()}}
	got, err := ParseClaims(string(AppendClaims(nil, agents)))
	if err != nil || !reflect.DeepEqual(got, agents) {
		t.Errorf("%v (%v), want %v", got, err, agents)
	}
	if n := len(AppendClaims(nil, make([]Agent, MaxClaims))) + MaxClaims*4/3*len(edition.NewSecret()); n > 6<<10 {
		t.Errorf("a header with %d agents has %d bytes", MaxClaims, n)
	}
}

// FuzzClaims reads the header of an event stream.
func FuzzClaims(f *testing.F) {
	f.Add(string(AppendClaims(nil, []Agent{{UAID: edition.NewUAID(), Secret: edition.NewSecret()}})))
	for _, s := range []string{"", "Edition", "edition W10=", "Edition e30", "Bearer x", "Edition bnVsbA", "Edition W251bGxd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		agents, err := ParseClaims(header)
		if err != nil {
			if s := Status(err); s != 400 && s != 401 && s != 413 {
				t.Fatalf("%q: %d %v", header, s, err)
			}
			return
		}
		again, err := ParseClaims(string(AppendClaims(nil, agents)))
		a, _ := json.Marshal(agents)
		b, _ := json.Marshal(again)
		if err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%s, then %s (%v)", a, b, err)
		}
	})
}
