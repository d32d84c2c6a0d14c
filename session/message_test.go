package session

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

var slotMaker edition.SlotMaker

// message delivers a message to a device's app, into the slot of a topic or
// into one of its own, and returns its event.
func (d *door) message(v device, topic string, b edition.Body) edition.Event {
	d.t.Helper()
	slot := slotMaker.Next(time.Now())
	if topic != "" {
		slot = edition.TopicSlot(v.AppID, topic)
	}
	b.AppID = v.AppID
	if b.TTL == 0 {
		b.TTL = time.Hour
	}
	e := edition.Event{Key: edition.Key{UAID: v.UAID, AppID: slot}}
	how := edition.Delivery{Make: true, Bodies: []*edition.Body{&b}}
	res, err := d.hub.Deliver(edition.Update{e}, how).Wait(d.t.Context())
	if err != nil || res[0].Outcome != edition.OutcomeStored {
		d.t.Fatalf("message: %+v %v", res, err)
	}
	e.Version = res[0].Version
	return e
}

// gone wants that nothing is left of events.
func (d *door) gone(u ...edition.Event) {
	d.t.Helper()
	for _, e := range u {
		if st, err := d.store.State(e.Key); err == nil {
			d.t.Errorf("%v is still there: %+v", e, st)
		}
	}
}

// wantCarried checks what a message or an answer says that an event carries.
func wantCarried(t *testing.T, all []wire.Carried, e edition.Event, want edition.Body) {
	t.Helper()
	for _, c := range all {
		if c.UAID == e.UAID && edition.AppID(c.Slot) == e.AppID {
			if c.AppID != want.AppID || c.Urgency != want.Urgency.String() || c.Encoding != want.Encoding ||
				c.Encryption != want.Encryption || c.CryptoKey != want.CryptoKey || !bytes.Equal(c.Data, want.Data) ||
				c.TTL < 1 || c.TTL > 3600 {
				t.Errorf("carries %+v, want %+v", c, want)
			}
			return
		}
	}
	t.Errorf("%v carries nothing of %d", e, len(all))
}

func sorted(u ...edition.Event) edition.Update { return edition.Update(u).Normalize() }

// A device that asks for bodies is told of each message by its slot, and of a
// version what it carries; an ack of slots and versions clears exactly those.
func TestMessagesOverWebSocket(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	b := edition.Body{
		AppID: v.AppID, Urgency: edition.UrgencyHigh, Encoding: "aesgcm", Encryption: `salt="x"`, CryptoKey: "dh=<y>", Data: []byte{0, 255, '<'},
	}
	plain := edition.Body{AppID: v.AppID, TTL: time.Hour, Urgency: edition.UrgencyNormal, Data: []byte("version's own")}
	first, topic := d.message(v, "", b), d.message(v, "news", edition.Body{Data: []byte("old")})
	topic2 := d.message(v, "news", b)
	d.hub.Deliver(edition.Update{event(v, 7)}, edition.Delivery{Bodies: []*edition.Body{&plain}})

	c := d.connect()
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}, Bodies: true})
	c.hear(wire.TypeHello)
	m := c.hear(wire.TypeUpdate)
	if want := sorted(first, topic2, event(v, 7)); !slices.Equal(edition.Update(m.Updates), want) || len(m.Messages) != 3 {
		t.Fatalf("update %v with %d messages, want %v", m.Updates, len(m.Messages), want)
	}
	wantCarried(t, m.Messages, first, b)
	wantCarried(t, m.Messages, topic2, b)
	wantCarried(t, m.Messages, event(v, 7), plain)
	if topic.Key != topic2.Key || topic.Version >= topic2.Version {
		t.Errorf("%v, then %v", topic, topic2)
	}

	c.ack(sorted(first, topic)...) // a late ack of the old one of the topic
	c.barrier()
	d.gone(first)
	d.wantState(topic2.Key, edition.StatePending)
	c.ack(sorted(topic2, event(v, 7))...)
	c.barrier()
	d.gone(topic2)
	d.wantState(v.Key, edition.StateDelivered)

	last := d.message(v, "", edition.Body{}) // nothing but news
	m = c.update(last.Key, last.Version)
	wantCarried(t, m.Messages, last, edition.Body{AppID: v.AppID})
	c.say(wire.Message{Type: wire.TypeAck, ID: m.ID})
	c.barrier()
	d.gone(last)
}

// A device that does not ask is told of messages as versions of their apps, and
// its acks, in each of their forms, mean the messages.
func TestMessagesShownAsVersions(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	c := d.connect()
	c.hello(v)
	for _, form := range []string{"updates", "id", "uaids"} {
		paused := d.message(v, "", edition.Body{Data: []byte("x")})
		m := c.update(v.Key, paused.Version)
		if len(m.Messages) != 0 {
			t.Fatalf("bodies that nobody asked for: %+v", m.Messages)
		}
		more := []edition.Event{d.message(v, "", edition.Body{}), d.message(v, "a", edition.Body{}), d.message(v, "", edition.Body{})}
		greatest := slices.MaxFunc(more, func(a, b edition.Event) int { return int(a.Version) - int(b.Version) })
		c.ack(event(v, m.Updates[0].Version))
		m = c.update(v.Key, greatest.Version)
		d.gone(paused)
		switch form {
		case "updates":
			c.ack(event(v, greatest.Version-1)) // not what was told: those below it only
			c.barrier()
			d.wantState(greatest.Key, edition.StatePending)
			c.ack(event(v, greatest.Version))
		case "id":
			c.say(wire.Message{Type: wire.TypeAck, ID: m.ID})
		case "uaids":
			c.say(wire.Message{Type: wire.TypeAck, UAIDs: []edition.UAID{v.UAID}})
		}
		c.barrier()
		d.gone(more...)
	}
	// A hello that asks for bodies changes that on a live connection; what is in
	// flight can still be acknowledged as it was told.
	before := d.message(v, "", edition.Body{})
	c.update(v.Key, before.Version)
	c.say(`{"type":"hello","bodies":true}`)
	c.hear(wire.TypeHello)
	after := d.message(v, "", edition.Body{Data: []byte("y")})
	c.ack(event(v, before.Version))
	m := c.update(after.Key, after.Version)
	wantCarried(t, m.Messages, after, edition.Body{AppID: v.AppID, Data: []byte("y")})
	d.gone(before)
}

func TestMessagesOverPoll(t *testing.T) {
	d := open(t, nil)
	for _, bodies := range []bool{false, true} {
		v := d.registered(edition.Direct)
		b := edition.Body{AppID: v.AppID, Encoding: "aes128gcm", Data: []byte("data")}
		first := d.message(v, "", b)
		second := d.message(v, "topic", b)
		d.deliver(v.Key, 5)
		poll := wire.UpdateRequest{Agents: []wire.Agent{v.claim()}, Bodies: bodies}
		shown := sorted(first, second, event(v, 5))
		if !bodies {
			shown = edition.Update{event(v, max(first.Version, second.Version))}
		}
		for range 2 { // again, until it is acknowledged
			status, u := d.poll(poll)
			if status != 200 || !slices.Equal(edition.Update(u.Updates), shown) {
				t.Fatalf("bodies %v: %d %v, want %v", bodies, status, u.Updates, shown)
			}
			if !bodies && len(u.Messages) != 0 || bodies && len(u.Messages) != 2 {
				t.Fatalf("bodies %v: %d messages", bodies, len(u.Messages))
			}
			if bodies {
				wantCarried(t, u.Messages, first, b)
				wantCarried(t, u.Messages, second, b)
			}
		}
		late := d.message(v, "topic", b) // was not sent
		ack := wire.AckRequest{Agents: poll.Agents, Updates: wire.Updates(shown), Bodies: bodies}
		if status, body := d.post(wire.PathAck, ack); status != http.StatusNoContent {
			t.Fatalf("ack: %d %s", status, body)
		}
		d.gone(first)
		d.wantState(late.Key, edition.StatePending)
		poll.Wait = "30s"
		if status, u := d.poll(poll); status != 200 || len(u.Updates) != 1 || u.Updates[0].Version != late.Version {
			t.Fatalf("bodies %v: %d %v, want %v", bodies, status, u.Updates, late)
		} else {
			poll.Ack, poll.Wait = u.Updates, ""
		}
		if status, u := d.poll(poll); status != http.StatusNoContent {
			t.Fatalf("bodies %v: %d %v after the last ack", bodies, status, u)
		}
		d.gone(late)
	}
}

// However much waits, an UPDATE with its messages is at most wire.MaxMessage
// long, and all come, in the order in which they came.
func TestMessagesFitIntoUpdates(t *testing.T) {
	d := openWith(t, mem.New(mem.Options{}))
	v := d.registered(edition.Direct)
	var want edition.Update
	for i := range 300 {
		size := []int{edition.MaxBody, 0, 17, 3000}[i%4]
		want = append(want, d.message(v, "", edition.Body{
			Encoding: "aesgcm", Encryption: strings.Repeat("<", 300), CryptoKey: strings.Repeat("\x01", 200), Data: make([]byte, size),
		}))
	}
	dialer := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
	ws, _, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(d.url, "http")+wire.PathWebSocket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteJSON(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}, Bodies: true}); err != nil {
		t.Fatal(err)
	}
	var got edition.Update
	for updates := 0; len(got) < len(want); {
		_, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		var m wire.Message
		if err := wire.Decode(b, &m); err != nil {
			t.Fatal(err)
		}
		if m.Type != wire.TypeUpdate {
			continue
		}
		if len(b) > wire.MaxMessage {
			t.Errorf("an UPDATE of %d bytes", len(b))
		}
		if updates++; len(m.Messages) != len(m.Updates) {
			t.Errorf("%d messages for %d slots", len(m.Messages), len(m.Updates))
		}
		got = append(got, m.Updates...)
		if err := ws.WriteMessage(websocket.TextMessage, wire.AppendAck(nil, false, edition.Update(m.Updates))); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages out of order", len(got))
	}

	// The same by polls, without bodies: many messages are one version.
	for range 50 {
		d.message(v, "", edition.Body{Data: make([]byte, edition.MaxBody)})
	}
	last := d.message(v, "", edition.Body{})
	poll := wire.UpdateRequest{Agents: []wire.Agent{v.claim()}}
	ws.Close()
	d.wantPoll(poll, event(v, last.Version))
	poll.Ack = wire.Updates{event(v, last.Version)}
	d.wantPoll(poll)
	if u, err := d.store.Pending(nil, edition.Direct, v.UAID); err != nil || len(u) > 0 {
		t.Errorf("%d left (%v)", len(u), err)
	}
}

// openWith is open over a store.
func openWith(t testing.TB, st edition.Store) *door {
	return open(t, func(o *Options) {
		*o = options(st)
		o.Limits = unhurried
		o.Limits.Rate = -1
	})
}

// Messages behind a relay: stored, its store lost, the device elsewhere and
// back, delivered.
func TestMessagesThroughRelays(t *testing.T) {
	d := open(t, nil)
	v := d.registered(d.relay("r1"))
	b := edition.Body{AppID: v.AppID, Encoding: "aes128gcm", Data: []byte("data"), Receipt: true}
	e, other := d.message(v, "", b), d.message(v, "t", b)
	both := sorted(e, other)
	hear := func(c *peerConn) {
		t.Helper()
		m := c.hear(wire.TypeUpdate)
		if !slices.Equal(edition.Update(m.Updates), both) {
			t.Fatalf("%v, want %v", m.Updates, both)
		}
		for _, e := range both {
			wantCarried(t, m.Messages, e, b)
		}
		if !m.Messages[0].Receipt {
			t.Error("the wish for a receipt does not ride along")
		}
	}
	r1 := d.asRelay("r1", relayToken, wire.CustodyDevice)
	hear(r1)
	r1.report(wire.AckStored, both...)
	r1.barrier()
	r1.ws.Close()
	r1 = d.asRelay("r1", relayToken, wire.CustodyDevice)
	r1.barrier() // nothing comes again

	r1 = d.connect(relayToken)
	r1.enter(wire.Message{Relay: "r1", Store: "a new one"}, wire.CustodyDevice)
	hear(r1)
	r1.report(wire.AckStored, both...)
	r1.barrier()

	direct := d.connect()
	direct.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}, Bodies: true})
	direct.hear(wire.TypeHello)
	hear(direct)
	direct.ack(e)
	direct.barrier()
	d.wantState(e.Key, edition.StateDelivered) // remembered for its receipt

	r2 := d.asRelay("r2", otherToken, wire.CustodyRelay)
	r2.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.behind()}})
	r2.hear(wire.TypeHello)
	both = edition.Update{other}
	hear(r2)
	r2.report(wire.AckStored, other) // in its custody
	r2.barrier()
	if u, err := d.store.Pending(nil, d.relay("r2"), v.UAID); err != nil || len(u) > 0 {
		t.Errorf("%v is still pending (%v)", u, err)
	}

	// A poll of a relay is told bodies without asking.
	w := d.registered(d.relay("r1"))
	third := d.message(w, "", b)
	b.AppID = w.AppID
	status, u := d.poll(wire.UpdateRequest{Relay: "r1", Store: "a new one"}, relayToken)
	if status != 200 || len(u.Updates) != 1 || u.Updates[0] != third {
		t.Fatalf("poll: %d %v", status, u.Updates)
	}
	wantCarried(t, u.Messages, third, b)
}

// Less urgent messages wait for a device that asks for urgent ones; versions do
// not wait.
func TestUrgency(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	send := func(u edition.Urgency) edition.Event { return d.message(v, "", edition.Body{Urgency: u}) }
	low, normal := send(edition.UrgencyLow), send(edition.UrgencyNormal)
	c := d.connect()
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}, Bodies: true, Urgency: "normal"})
	c.hear(wire.TypeHello)
	c.update(normal.Key, normal.Version)
	c.ack(normal)
	c.barrier()
	low2 := send(edition.UrgencyVeryLow)
	d.deliver(v.Key, 5)
	c.update(v.Key, 5)
	c.ack(event(v, 5))
	c.barrier()
	if d.hub.Pending(edition.Holder{UAID: v.UAID}) {
		t.Error("messages that wait make a kick due")
	}
	c.say(`{"type":"hello","urgency":"urgent"}`)
	c.wantError(400, wire.TypeHello, "none of very-low")
	c.say(`{"type":"hello"}`) // says nothing of it
	c.hear(wire.TypeHello)
	c.barrier()
	c.say(`{"type":"hello","urgency":"low"}`)
	c.hear(wire.TypeHello)
	c.update(low.Key, low.Version)
	c.ack(low)
	c.barrier()
	high := send(edition.UrgencyHigh)
	c.update(high.Key, high.Version)
	c.ws.Close()

	poll := wire.UpdateRequest{Agents: []wire.Agent{v.claim()}, Bodies: true, Urgency: "high"}
	d.wantPoll(poll, high)
	poll.Ack = wire.Updates{high}
	d.wantPoll(poll)
	if d.hub.Pending(edition.Holder{UAID: v.UAID}) {
		t.Error("messages that wait make a kick due")
	}
	poll = wire.UpdateRequest{Agents: poll.Agents, Bodies: true}
	d.wantPoll(poll, low2)
	if !d.hub.Pending(edition.Holder{UAID: v.UAID}) {
		t.Error("nothing is due any more")
	}
	if status, _ := d.poll(wire.UpdateRequest{Agents: poll.Agents, Urgency: "soon"}); status != 400 {
		t.Errorf("a poll with an unknown urgency: %d", status)
	}
	c = d.connect()
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}, Bodies: true})
	c.hear(wire.TypeHello)
	c.update(low2.Key, low2.Version)
}

// Many devices on one connection, some with messages, some with versions.
func TestMessagesOfManyDevices(t *testing.T) {
	for _, bodies := range []bool{true, false} {
		t.Run(fmt.Sprint(bodies), func(t *testing.T) {
			d := open(t, nil)
			want := map[edition.Key]edition.Version{}
			m := wire.Message{Type: wire.TypeHello, Bodies: bodies}
			for i := range 100 {
				v := d.registered(edition.Direct)
				m.Agents = append(m.Agents, v.claim())
				if i%2 == 0 {
					d.deliver(v.Key, 1)
					want[v.Key] = 1
				}
				for range i % 7 {
					e := d.message(v, "", edition.Body{Data: make([]byte, 2000)})
					if !bodies {
						e.AppID = v.AppID
					}
					want[e.Key] = max(want[e.Key], e.Version)
				}
			}
			c := d.connect()
			c.say(m)
			c.hear(wire.TypeHello)
			got := map[edition.Key]edition.Version{}
			for !maps.Equal(got, want) {
				m := c.hear(wire.TypeUpdate)
				for _, e := range m.Updates {
					got[e.Key] = max(got[e.Key], e.Version)
				}
				c.ack(m.Updates...)
			}
			c.barrier()
			for _, a := range m.Agents {
				if u, err := d.store.Pending(nil, edition.Direct, a.UAID); err != nil || len(u) > 0 {
					t.Errorf("%d left (%v)", len(u), err)
				}
			}
		})
	}
}
