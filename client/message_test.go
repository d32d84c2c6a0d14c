package client

import (
	"bytes"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// delivery is what an app is called with.
type delivery struct {
	version edition.Version
	body    *edition.Body
}

// scriptedDevice is upstream of a device over both transports: it hands out what
// is given to it, and keeps what it is told.
type scriptedDevice struct {
	mu    sync.Mutex
	said  []wire.Message    // Guarded by mu; everything but acks, as messages
	acked edition.Update    // Guarded by mu
	peer  *peer             // Guarded by mu
	ready chan struct{}     // closed when the first app is registered
	polls chan wire.Message // what the next polls bring
	known sync.Once
}

func newScripted() (*scriptedDevice, *upstream) {
	s := &scriptedDevice{ready: make(chan struct{}), polls: make(chan wire.Message, 10)}
	up := &upstream{
		ws: func(p *peer) {
			s.mu.Lock()
			s.peer = p
			s.mu.Unlock()
			for {
				m, ok := p.read()
				if !ok {
					return
				}
				if a := s.take(m); a.Type != "" {
					p.send(a)
				}
			}
		},
		api: map[string]func(http.ResponseWriter, []byte) any{},
	}
	up.api[wire.PathRegister] = func(_ http.ResponseWriter, b []byte) any {
		r := decode[wire.RegisterRequest](up.t, b)
		a := s.take(wire.Message{Type: wire.TypeRegister, UAID: r.UAID, AppID: r.AppID, Key: r.Key})
		return wire.RegisterResponse{UAID: *r.UAID, AppID: *r.AppID, Endpoint: a.Endpoint}
	}
	up.api[wire.PathUnregister] = func(_ http.ResponseWriter, b []byte) any {
		r := decode[wire.RegisterRequest](up.t, b)
		s.take(wire.Message{Type: wire.TypeUnregister, UAID: r.UAID, AppID: r.AppID})
		return nil
	}
	up.api[wire.PathAck] = func(_ http.ResponseWriter, b []byte) any {
		r := decode[wire.AckRequest](up.t, b)
		s.take(wire.Message{Type: wire.TypeAck, Updates: r.Updates})
		if r.Refuse != nil {
			s.take(wire.Message{Type: wire.TypeRefuse, Updates: r.Refuse})
		}
		return nil
	}
	up.api[wire.PathUpdate] = func(_ http.ResponseWriter, b []byte) any {
		r := decode[wire.UpdateRequest](up.t, b)
		s.take(wire.Message{Type: wire.TypeHello, Bodies: r.Bodies, Urgency: r.Urgency, Relay: r.Relay})
		s.take(wire.Message{Type: wire.TypeAck, Updates: r.Ack})
		select {
		case m := <-s.polls:
			return wire.UpdateResponse{Updates: m.Updates, Messages: m.Messages}
		default:
			return nil
		}
	}
	return s, up
}

// take keeps what was said and returns the answer, if there is one.
func (s *scriptedDevice) take(m wire.Message) wire.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Type == wire.TypeAck {
		s.acked = append(s.acked, m.Updates...)
		return wire.Message{}
	}
	s.said = append(s.said, m)
	switch m.Type {
	case wire.TypeHello:
		return helloAnswer(m)
	case wire.TypeRegister:
		s.known.Do(func() { close(s.ready) })
		return wire.Message{Type: m.Type, Status: 201, UAID: m.UAID, AppID: m.AppID, Endpoint: "https://push.test/" + m.AppID.String() + "/" + string(m.Key)}
	case wire.TypeUnregister:
		return wire.Message{Type: m.Type, Status: 200, UAID: m.UAID, AppID: m.AppID}
	}
	return wire.Message{}
}

// give hands an UPDATE out, over the WebSocket or to the next poll.
func (s *scriptedDevice) give(mode string, m wire.Message) {
	m.Type, m.ID = wire.TypeUpdate, 1
	if mode == ModePoll {
		s.polls <- m
		return
	}
	s.mu.Lock()
	p := s.peer
	s.mu.Unlock()
	p.send(m)
}

func (s *scriptedDevice) has(e edition.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.acked, e)
}

func (s *scriptedDevice) heard(is func(wire.Message) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.said, is)
}

// TestDeviceMessages has an app that takes messages beside one that does not.
func TestDeviceMessages(t *testing.T) {
	for _, mode := range []string{ModeWebSocket, ModePoll} {
		t.Run(mode, func(t *testing.T) {
			s, up := newScripted()
			cfg := DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t), Mode: mode, Interval: 10 * time.Millisecond, Urgency: edition.UrgencyNormal}}
			d := openDevice(t, cfg)
			messages, versions := make(chan delivery, 100), make(chan edition.Version, 100)
			mail := App{
				Name: "mail", OnVersion: func(v edition.Version) { messages <- delivery{version: v} },
				OnMessage: func(v edition.Version, b *edition.Body) { messages <- delivery{v, b} },
			}
			cal := App{Name: "cal", OnVersion: func(v edition.Version) { versions <- v }}
			for _, app := range []App{mail, cal} {
				if err := d.Register(app); err != nil {
					t.Fatal(err)
				}
			}
			stop := runDevice(t, d)
			within(t, s.ready, "a registration")
			eventually(t, "what is wanted", func() bool {
				return s.heard(func(m wire.Message) bool { return m.Type == wire.TypeHello && m.Bodies && m.Urgency == "normal" })
			})
			apps := d.Apps()
			mailID, calID := apps[0].AppID, apps[1].AppID
			var slots edition.SlotMaker
			at := func(slot edition.AppID, v edition.Version) edition.Event {
				return edition.Event{Key: edition.Key{UAID: d.UAID(), AppID: slot}, Version: v}
			}
			first, topic := at(slots.Next(time.Now()), 10), at(edition.TopicSlot(mailID, "t"), 11)
			forCal, stray, empty := at(edition.TopicSlot(calID, ""), 12), at(slots.Next(time.Now()), 13), at(slots.Next(time.Now()), 14)
			own, plain := at(mailID, 5), at(calID, 3)
			nobody := edition.NewAppID()
			body := func(app edition.AppID, text string) *edition.Body {
				return &edition.Body{AppID: app, TTL: time.Minute, Urgency: edition.UrgencyHigh, Encoding: "aes128gcm", Data: []byte(text)}
			}
			carries := map[edition.Key]*edition.Body{
				first.Key: body(mailID, "first"), topic.Key: body(mailID, "topic"), own.Key: body(mailID, "own"),
				forCal.Key: body(calID, "cal"), stray.Key: body(nobody, "nobody's"),
			}
			give := func(u ...edition.Event) {
				all := edition.Update(u).Normalize()
				var bodies []*edition.Body
				for _, e := range all {
					bodies = append(bodies, carries[e.Key])
				}
				s.give(mode, wire.Message{Updates: wire.Updates(all), Messages: wire.CarriedBy(all, bodies)})
			}
			give(first, topic, forCal, stray, empty, own)
			got := map[edition.Version]string{}
			for range 3 {
				m := within(t, messages, "a message")
				if m.body == nil || m.body.Encoding != "aes128gcm" || m.body.AppID != mailID || m.body.Urgency != edition.UrgencyHigh {
					t.Fatalf("%+v", m)
				}
				got[m.version] = string(m.body.Data)
			}
			if len(got) != 3 || got[10] != "first" || got[11] != "topic" || got[5] != "own" {
				t.Errorf("called with %v", got)
			}
			if v := within(t, versions, "a message as a version"); v != 12 {
				t.Errorf("version %d", v)
			}
			eventually(t, "acks", func() bool { return s.has(first) && s.has(topic) && s.has(forCal) && s.has(own) })
			eventually(t, "the stray withdrawn", func() bool {
				return s.heard(func(m wire.Message) bool { return m.Type == wire.TypeUnregister && *m.AppID == nobody })
			})
			if s.has(empty) || s.has(stray) {
				t.Error("what nobody has seen was acknowledged")
			}

			// Sent again, because acks were late: acknowledged, and not told again.
			s.mu.Lock()
			s.acked = nil
			s.mu.Unlock()
			give(first, topic, own, forCal, plain)
			eventually(t, "acks again", func() bool { return s.has(first) && s.has(topic) && s.has(forCal) && s.has(own) && s.has(plain) })
			topic.Version = 20
			carries[topic.Key] = body(mailID, "newer")
			give(topic)
			if m := within(t, messages, "the newer one"); m.version != 20 || string(m.body.Data) != "newer" {
				t.Errorf("%+v", m)
			}
			if len(messages) != 0 || len(versions) != 0 {
				t.Errorf("told again: %d messages, %d versions", len(messages), len(versions))
			}

			// What is withdrawn is for relays: a device says that it has it.
			withdrawn := at(slots.Next(time.Now()), 21)
			carries[withdrawn.Key] = &edition.Body{TTL: time.Minute, Withdrawn: true}
			give(withdrawn)
			eventually(t, "an ack of what is withdrawn", func() bool { return s.has(withdrawn) })
			if len(messages) != 0 || len(versions) != 0 {
				t.Errorf("told of what is withdrawn: %d messages, %d versions", len(messages), len(versions))
			}

			d.SetUrgency(edition.UrgencyVeryLow)
			eventually(t, "everything is wanted", func() bool {
				return s.heard(func(m wire.Message) bool {
					return m.Type == wire.TypeHello && m.Bodies && (m.Urgency == "very-low" || mode == ModePoll && m.Urgency == "")
				})
			})
			if err := d.Unregister("mail"); err != nil {
				t.Fatal(err)
			}
			if bodies, _ := d.wanted(); bodies {
				t.Error("bodies are wanted by nobody")
			}
			stop()
			text, err := os.ReadFile(cfg.State)
			if err != nil || bytes.Contains(text, []byte(first.AppID.String())) {
				t.Errorf("the state file knows of messages (%v)", err)
			}
		})
	}
}

// TestMalformedMessages: what a relay is sent without its message is refused,
// the rest is taken.
func TestMalformedMessages(t *testing.T) {
	for _, mode := range []string{ModeWebSocket, ModePoll} {
		t.Run(mode, func(t *testing.T) {
			s, up := newScripted()
			got := make(chan edition.Update, 10)
			connected := make(chan struct{}, 10)
			cfg := Config{
				URL: up.serve(t), Mode: mode, Interval: 10 * time.Millisecond, Relay: "r", Token: "t",
				Update: func(u edition.Update, bodies []*edition.Body, done func()) {
					for i := range u {
						if (bodies != nil && bodies[i] != nil) != u[i].AppID.IsSlot() {
							t.Errorf("%v carries %v", u[i], bodies)
						}
					}
					got <- slices.Clone(u)
					done()
				},
				Connected: func() { connected <- struct{}{} },
			}
			run(t, newClient(t, cfg))
			within(t, connected, "the connection")
			good, bad, plain := event(1, 1, 5), event(1, 2, 6), event(2, 1, 1)
			good.AppID, bad.AppID = edition.TopicSlot(plain.AppID, "a"), edition.TopicSlot(plain.AppID, "b")
			u := edition.Update{good, bad, plain}.Normalize()
			for _, spoiled := range []wire.Carried{
				{},
				{UAID: bad.UAID, Slot: wire.Slot(bad.AppID), AppID: plain.AppID, Urgency: "soon"},
				{UAID: bad.UAID, Slot: wire.Slot(bad.AppID), AppID: plain.AppID, Data: make([]byte, edition.MaxBody+1)},
			} {
				m := wire.Message{Updates: wire.Updates(u), Messages: []wire.Carried{
					{UAID: good.UAID, Slot: wire.Slot(good.AppID), AppID: plain.AppID, TTL: 5, Data: []byte("x")},
				}}
				if spoiled.UAID != (edition.UAID{}) {
					m.Messages = append(m.Messages, spoiled)
				}
				s.mu.Lock()
				s.said = nil
				s.mu.Unlock()
				s.give(mode, m)
				if kept := within(t, got, "the rest"); !slices.Equal(kept, edition.Update{good, plain}.Normalize()) {
					t.Errorf("got %v", kept)
				}
				eventually(t, "a refusal", func() bool {
					return s.heard(func(m wire.Message) bool {
						return m.Type == wire.TypeRefuse && slices.Equal(edition.Update(m.Updates), edition.Update{bad})
					})
				})
			}
			s.give(mode, wire.Message{Updates: wire.Updates{bad}}) // nothing is good
			s.give(mode, wire.Message{Updates: wire.Updates{plain}})
			if kept := within(t, got, "what follows"); !slices.Equal(kept, edition.Update{plain}) {
				t.Errorf("got %v", kept)
			}
			if s.heard(func(m wire.Message) bool { return m.Bodies || m.Urgency != "" }) {
				t.Error("a relay asks for what it is told anyway")
			}
		})
	}
}

// TestDeviceKeys: an endpoint is made for a key, and anew for another one; the
// state file remembers it.
func TestDeviceKeys(t *testing.T) {
	s, up := newScripted()
	cfg := DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t)}}
	key := func(b byte) []byte { return append([]byte{4}, bytes.Repeat([]byte{b}, 64)...) }
	for i, k := range [][]byte{nil, key('a'), key('a'), key('b'), nil} {
		d := openDevice(t, cfg)
		endpoints := make(chan string, 10)
		if err := d.Register(App{Name: "app", Key: k, OnEndpoint: func(e string) { endpoints <- e }}); err != nil {
			t.Fatal(err)
		}
		stop := runDevice(t, d)
		if e := within(t, endpoints, "an endpoint"); !strings.HasSuffix(e, "/"+string(k)) {
			t.Errorf("%d: %q", i, e)
		}
		eventually(t, "a registration", func() bool {
			return s.heard(func(m wire.Message) bool { return m.Type == wire.TypeRegister && bytes.Equal(m.Key, k) })
		})
		stop()
		if d := openDevice(t, cfg); !bytes.Equal(d.state.Apps[0].Key, k) {
			t.Errorf("%d: the state file does not know the key", i)
		}
		s.mu.Lock()
		s.said = nil
		s.mu.Unlock()
	}
}

// TestSeen: the memory of messages is bounded, and knows the last ones.
func TestSeen(t *testing.T) {
	var s seen
	var m edition.SlotMaker
	var slots []edition.AppID
	for i := range 5 * maxSeen {
		slots = append(slots, m.Next(time.Now()))
		s.add(slots[i], 7)
		s.add(slots[i], 8)
	}
	if len(s.versions) != maxSeen || len(s.order) != maxSeen {
		t.Fatalf("%d, %d", len(s.versions), len(s.order))
	}
	for i, slot := range slots {
		if recent := i >= len(slots)-maxSeen; s.has(slot, 8) != recent || s.has(slot, 9) {
			t.Fatalf("slot %d", i)
		}
	}
}
