package dialect_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect"
	"github.com/edition-push/edition/dialect/mozpush"
	"github.com/edition-push/edition/dialect/simplepush"
	"github.com/edition-push/edition/session"
	"github.com/edition-push/edition/wire"
)

func usual() dialect.Options {
	return dialect.Options{PingMin: 20 * time.Second, SimplePush: simplepush.Options{MaxChannels: 100}, Mozilla: mozpush.Options{Backlog: 0}}
}

const channel = "d9b74644-4f97-46aa-b8fa-9393985cd6cd"

// words are what hostile devices make their messages of.
var words = []string{
	`{"messageType":"hello","uaid":"","channelIDs":[]}`,
	`{"messageType":"hello","uaid":"%s","channelIDs":[]}`,
	`{"messageType":"hello","uaid":"%s","use_webpush":true}`,
	`{"messageType":"hello","uaid":"%s","channelIDs":["` + channel + `"],"wakeup_hostport":{"ip":"127.0.0.1","port":99999999999999999999},"mobilenetwork":{"mcc":[1]}}`,
	`{"messageType":"hello","uaid":{},"channelIDs":{}}`,
	`{"messageType":"register","channelID":"` + channel + `"}`,
	`{"messageType":"register","channelID":"` + channel + `","key":"AAAA"}`,
	`{"messageType":"register","channelID":"` + strings.Repeat("x", 5000) + `"}`,
	`{"messageType":"register"}`,
	`{"messageType":"unregister","channelID":"` + channel + `"}`,
	`{"messageType":"ack","updates":[{"channelID":"` + channel + `","version":1}]}`,
	`{"messageType":"ack","updates":[{"channelID":"` + channel + `","version":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`,
	`{"messageType":"ack","updates":[{"channelID":"` + channel + `","version":-1}]}`,
	`{"messageType":"ack","updates":[[[[[[]]]]]]}`,
	`{"messageType":"ack","updates":null}`,
	`{"messageType":"nack","version":7,"code":"x"}`,
	`{"messageType":"broadcast_subscribe","broadcasts":5}`,
	`{"messageType":"purge"}`, `{"messageType":"ping"}`, `{}`, `[]`, `null`, `{"messageType":`, ``,
	`{"type":"hello","agents":[]}`, `{"type":"register"}`,
	`{"messageType":"notification","updates":[]}`,
	strings.Repeat("[", 20000), `{"a":` + strings.Repeat(`{"a":`, 9000) + `1` + strings.Repeat(`}`, 9001),
}

// TestHostile says hellos, registers and acks in any order, from many
// connections of a few UAIDs, while versions come in. Nothing that is said ends
// the server, and a device that keeps to the protocol gets its version.
func TestHostile(t *testing.T) {
	s := onLoopback(t, usual(), session.Limits{})
	uaids := []string{edition.NewUAID().String(), edition.NewUAID().String()}
	var wg sync.WaitGroup
	for worker := range 4 {
		rng := rand.New(rand.NewPCG(1, uint64(worker)))
		wg.Go(func() {
			for range 40 {
				c, resp, err := (&websocket.Dialer{Subprotocols: [][]string{{wire.SubprotocolSimplePush}, nil}[rng.IntN(2)]}).DialContext(t.Context(), s.url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				go func() {
					for {
						if _, _, err := c.ReadMessage(); err != nil {
							return
						}
					}
				}()
				for range rng.IntN(12) {
					text := words[rng.IntN(len(words))]
					if strings.Contains(text, "%s") {
						text = fmt.Sprintf(text, uaids[rng.IntN(len(uaids))])
					}
					if c.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
						break
					}
				}
				c.Close()
			}
		})
		wg.Go(func() {
			app, err := edition.ParseAppID(channel)
			if err != nil {
				t.Error(err)
			}
			for v := range edition.Version(200) {
				uaid, err := edition.ParseUAID(uaids[worker%2])
				if err != nil {
					t.Error(err)
				}
				s.hub.Deliver(edition.Update{{Key: edition.Key{UAID: uaid, AppID: app}, Version: v}}, edition.Delivery{})
			}
		})
	}
	wg.Wait()
	c := s.connect()
	c.say(`{"messageType":"hello","uaid":"","channelIDs":[]}`)
	uaid, err := edition.ParseUAID(c.heard()["uaid"].(string))
	if err != nil {
		t.Fatal(err)
	}
	c.say(`{"messageType":"register","channelID":"` + channel + `"}`)
	c.heard()
	app, err := edition.ParseAppID(channel)
	if err != nil {
		t.Fatal(err)
	}
	s.deliver(edition.Event{Key: edition.Key{UAID: uaid, AppID: app}, Version: 3}, nil)
	if m := c.heard(); m["messageType"] != "notification" {
		t.Fatalf("heard %v", m)
	}
}

// TestSlowReader: a browser for which much is waiting, and that does not read,
// holds no memory beyond what one UPDATE may hold. One that reads gets it all,
// in order, though it acknowledges each message by itself, more often than a
// device may speak.
func TestSlowReader(t *testing.T) {
	const messages = 900
	s := onLoopback(t, usual(), session.Limits{Burst: 20, Rate: 1})
	c := s.connect()
	c.say(`{"messageType":"hello","use_webpush":true}`)
	said := c.heard()["uaid"].(string)
	c.say(`{"messageType":"register","channelID":"` + channel + `"}`)
	c.heard()
	c.ws.Close()
	uaid, err := edition.ParseUAID(dashed(said))
	if err != nil {
		t.Fatal(err)
	}
	app, err := edition.ParseAppID(channel)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, edition.MaxBody)
	for i := range messages {
		copy(data, fmt.Sprintf("%08d", i))
		b := &edition.Body{AppID: app, TTL: time.Hour, Encoding: "aes128gcm", Data: append([]byte(nil), data...)}
		s.deliver(edition.Event{Key: edition.Key{UAID: uaid, AppID: s.slots.Next(time.Now())}}, b)
	}
	hello := `{"messageType":"hello","use_webpush":true,"uaid":"` + said + `"}`
	before := heap()
	for range 20 {
		mute, resp, err := (&websocket.Dialer{Subprotocols: []string{wire.SubprotocolSimplePush}}).DialContext(t.Context(), s.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		defer mute.Close()
		if err := mute.WriteMessage(websocket.TextMessage, []byte(hello)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := mute.ReadMessage(); err != nil { // the answer, and nothing after it
			t.Fatal(err)
		}
	}
	if more := heap() - before; more > 16<<20 {
		t.Errorf("20 connections that do not read hold %d KiB", more>>10)
	}
	c = s.connect()
	c.say(hello)
	if got := c.heard()["uaid"]; got != said {
		t.Fatalf("uaid %v", got)
	}
	for i := range messages {
		m := c.heard()
		var got wire.Data
		if err := got.UnmarshalText([]byte(fmt.Sprint(m["data"]))); err != nil || len(got) != len(data) || string(got[:8]) != fmt.Sprintf("%08d", i) {
			t.Fatalf("message %d: %.60v", i, m)
		}
		b, err := json.Marshal(map[string]any{"messageType": "ack", "updates": []any{map[string]any{"channelID": channel, "version": m["version"], "code": 100}}})
		if err != nil {
			t.Fatal(err)
		}
		c.say(string(b))
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
