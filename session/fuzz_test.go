package session

import (
	"fmt"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// FuzzMessage says anything to a connection: it answers, closes, or ignores
// it, and does not fall over; the holder of the UAID notices nothing.
func FuzzMessage(f *testing.F) {
	v := newDevice()
	id := v.UAID.String()
	for _, s := range []string{
		`{"type":"hello","agents":[{"uaid":"` + id + `","secret":"` + v.secret + `"}]}`,
		`{"type":"hello","relay":"r1","store":"x","custody":"relay"}`,
		`{"type":"register","uaid":"` + id + `","appid":"` + v.AppID.String() + `","secret":"` + v.secret + `","kick":{"driver":"udp"}}`,
		`{"type":"unregister","uaid":"` + id + `","appid":"` + v.AppID.String() + `"}`,
		`{"type":"kick","kick":null}`,
		string(wire.AppendAck(nil, true, edition.Update{event(v, 1)})),
		string(wire.AppendUpdate(nil, 1, edition.Update{event(v, 1)})),
		`{"type":"ack","id":1,"uaids":["` + id + `"]}`, `{"type":"ack","uaids":[]}`, `{"type":"ack","id":1}`,
		`{"type":"refuse","updates":{"` + id + `":{"` + v.AppID.String() + `":1}}}`,
		`{"type":"hello","agents":[{"uaid":"` + id + `","secret":"` + v.secret + `"}],"bodies":true,"urgency":"high"}`,
		string(wire.AppendAck(nil, false, edition.Update{{Key: edition.Key{UAID: v.UAID, AppID: edition.TopicSlot(v.AppID, "")}, Version: 1}})),
		`{"type":"ping"}`, `{"type":"\u0000"}`, `[]`, "\xff", ``, fmt.Sprint(1 << 60),
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	d := open(f, func(o *Options) { o.Limits.Rate = -1 })
	d.register(v, edition.Direct)
	d.message(v, "", edition.Body{Data: []byte("x")})
	d.message(v, "t", edition.Body{Urgency: edition.UrgencyLow, Receipt: true})
	f.Fuzz(func(t *testing.T, b []byte, relay bool) {
		d := *d
		d.t = t
		var token []string
		if relay {
			token = []string{relayToken}
		}
		c, _, err := d.tryConnect(token...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.ws.Close()
		if relay {
			c.say(`{"type":"hello","relay":"r1"}`)
		}
		c.say(b)
		c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)) // may be closed
		for m := range c.in {
			if m.Type == wire.TypePong {
				return
			}
		}
		if ce := c.closed(); ce.Code != websocket.CloseInvalidFramePayloadData {
			t.Fatalf("closed with %d %q", ce.Code, ce.Text)
		}
		if _, err := d.store.Agent(v.UAID); err != nil {
			t.Fatal("the device is gone:", err)
		}
	})
}
