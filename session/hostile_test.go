package session

import (
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Acks of messages that were not sent to who acknowledges, or not at that
// version, clear nothing, however they come.
func TestHostileAcksOfMessages(t *testing.T) {
	d := open(t, nil)
	v, w := d.registered(edition.Direct), d.registered(edition.Direct)
	b := edition.Body{Urgency: edition.UrgencyNormal, Data: []byte("x")}
	sent, unsent, foreign := d.message(v, "", b), d.message(v, "low", edition.Body{Urgency: edition.UrgencyVeryLow}), d.message(w, "", b)
	c := d.connect()
	c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}, Bodies: true, Urgency: "low"})
	c.hear(wire.TypeHello)
	c.update(sent.Key, sent.Version)

	above, unknown, below := sent, sent, sent
	above.Version++
	below.Version--
	unknown.AppID = slotMaker.Next(time.Now())
	asApp := edition.Event{Key: v.Key, Version: sent.Version} // names the app: means nothing here
	bad := sorted(above, unknown, unsent, foreign, asApp)
	c.ack(bad...)
	c.ack(below)
	c.say(wire.Message{Type: wire.TypeAck, UAIDs: []edition.UAID{w.UAID}})
	c.say(wire.Message{Type: wire.TypeAck, ID: 99})
	c.barrier()
	for _, bodies := range []bool{true, false} {
		for _, agent := range []device{v, w} {
			ack := wire.AckRequest{Agents: []wire.Agent{agent.claim()}, Updates: wire.Updates(bad), Bodies: bodies}
			if !bodies {
				ack.Updates = wire.Updates(sorted(above, unknown, unsent, foreign)) // an app stands for its messages
			}
			if status, body := d.post(wire.PathAck, ack); status != 204 {
				t.Fatalf("%d %s", status, body)
			}
		}
	}
	r1 := d.asRelay("r1", relayToken, wire.CustodyDevice) // nothing is bound to it
	for _, what := range []string{wire.AckStored, wire.AckDelivered, wire.TypeRefuse} {
		r1.report(what, sorted(sent, unsent, foreign)...)
	}
	r1.barrier()
	for _, e := range []edition.Event{sent, unsent, foreign} {
		d.wantState(e.Key, edition.StatePending)
	}
	c.ack(sent)
	c.barrier()
	d.gone(sent)
}

// Slots are no apps, and not every key is one.
func TestHostileRegistrations(t *testing.T) {
	d := open(t, nil)
	c := d.connect()
	v := newDevice()
	for name, text := range map[string]string{
		"a topic's slot":    `"appid":"` + edition.TopicSlot(v.AppID, "").String() + `"`,
		"a message's slot":  `"appid":"` + slotMaker.Next(time.Now()).String() + `"`,
		"a short key":       `"appid":"` + v.AppID.String() + `","key":"BA"`,
		"an empty key":      `"appid":"` + v.AppID.String() + `","key":""`,
		"a key that is not": `"appid":"` + v.AppID.String() + `","key":"*"`,
		"a key as a number": `"appid":"` + v.AppID.String() + `","key":5`,
	} {
		body := `"uaid":"` + v.UAID.String() + `","secret":"` + v.secret + `",` + text + `}`
		c.say(`{"type":"register",` + body)
		if m := c.hear(wire.TypeError); m.Status != 400 {
			t.Errorf("%s: %+v", name, m)
		}
		if status, answer := d.request(wire.PathRegister, "{"+body); status != 400 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if _, err := d.store.Agent(v.UAID); err == nil {
		t.Error("the device is registered")
	}
}

// A device that asks for more and for less, again and again, while messages
// come, gets every one.
func TestHelloInTheMiddle(t *testing.T) {
	d := open(t, func(o *Options) { o.Limits.Rate = -1 }) // it asks until all has come
	v := d.registered(edition.Direct)
	c := d.connect()
	c.hello(v)
	const count = 200
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		for i := range count {
			b := &edition.Body{AppID: v.AppID, TTL: time.Hour, Urgency: edition.Urgency(i % 4)}
			e := edition.Event{Key: edition.Key{UAID: v.UAID, AppID: slotMaker.Next(time.Now())}}
			d.hub.Deliver(edition.Update{e}, edition.Delivery{Make: true, Bodies: []*edition.Body{b}})
		}
	}()
	asked := []string{`{"type":"hello","urgency":"high"}`, `{"type":"hello","bodies":true,"urgency":"low"}`, `{"type":"hello","agents":[]}`, `{"type":"hello","urgency":"very-low"}`}
	for i, last := 0, time.Now().Add(patient); ; i++ {
		if i%5 == 0 {
			c.say(asked[i/5%len(asked)])
		}
		c.say(`{"type":"ping"}`)
		for m := range c.in {
			if m.Type == wire.TypeUpdate {
				c.ack(m.Updates...)
			}
			if m.Type == wire.TypePong {
				break
			}
		}
		if i < 100 {
			continue
		}
		if i == 100 {
			asked = asked[3:]
		}
		all := false
		select {
		case <-delivered:
			all = true
		default:
		}
		u, err := d.store.Pending(nil, edition.Direct, v.UAID)
		if err != nil {
			t.Fatal(err)
		}
		if len(u) == 0 && all && i > 110 {
			return
		}
		if time.Now().After(last) {
			t.Fatalf("%d messages wait for ever", len(u))
		}
	}
}
