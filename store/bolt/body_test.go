package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// sender is an app server with one device's app.
type appServer struct {
	*testing.T
	s     *Store
	app   edition.Key
	slots edition.SlotMaker
	now   time.Time
}

func newAppServer(t *testing.T, s *Store, n int) *appServer {
	t.Helper()
	a := &appServer{T: t, s: s, app: benchKey(n), now: time.Now()}
	if err := s.Register(t.Context(), edition.Registration{Key: a.app}); err != nil {
		t.Fatal(err)
	}
	return a
}

// send delivers a message and returns where it waits.
func (a *appServer) send(urgency edition.Urgency, data string) (edition.Event, error) {
	a.Helper()
	a.now = a.now.Add(time.Millisecond)
	e := edition.Event{Key: edition.Key{UAID: a.app.UAID, AppID: a.slots.Next(a.now)}}
	b := &edition.Body{AppID: a.app.AppID, Urgency: urgency, Encoding: "aes128gcm", Data: []byte(data)}
	rs, err := a.s.Deliver(edition.Update{e}, edition.Delivery{Make: true, Bodies: []*edition.Body{b}}).Wait(a.Context())
	if err != nil {
		a.Fatal(err)
	}
	e.Version = rs[0].Version
	if rs[0].Outcome != edition.OutcomeStored && rs[0].Err == nil {
		a.Fatalf("outcome %v", rs[0])
	}
	return e, rs[0].Err
}

// waiting returns the data of what waits, in order.
func (a *appServer) waiting() (out []string) {
	a.Helper()
	u, err := a.s.Pending(nil, edition.Direct, a.app.UAID)
	if err != nil {
		a.Fatal(err)
	}
	all, err := a.s.Bodies(u)
	if err != nil {
		a.Fatal(err)
	}
	if len(u) > 0 && len(all) != len(u) {
		a.Fatalf("%d bodies of %d", len(all), len(u))
	}
	for _, b := range all {
		out = append(out, string(b.Data))
	}
	return out
}

func (a *appServer) want(want ...string) {
	a.Helper()
	if got := a.waiting(); fmt.Sprint(got) != fmt.Sprint(want) {
		a.Fatalf("waiting %q, want %q", got, want)
	}
}

func (a *appServer) ack(e edition.Event) {
	a.Helper()
	if err := a.s.Sent(edition.Direct, edition.Update{e}); err != nil {
		a.Fatal(err)
	}
	if n, err := a.s.Ack(edition.Direct, edition.Update{e}, edition.AckDelivered); err != nil || n.Cleared != 1 {
		a.Fatalf("ack %+v, %v", n, err)
	}
}

// TestBodiesLast keeps messages over crashes, in the journal and in the tables.
func TestBodiesLast(t *testing.T) {
	for name, o := range map[string]Options{"in memory": {}, "in tables": {MemoryRows: 1, JournalBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			o.Path = filepath.Join(t.TempDir(), "edition.db")
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			abort := start(t, s)
			a := newAppServer(t, s, 1)
			first, _ := a.send(edition.UrgencyNormal, "one")
			a.send(edition.UrgencyNormal, "two")
			a.send(edition.UrgencyNormal, "three")
			a.ack(first)
			// What was acknowledged is forgotten with a later commit.
			time.Sleep(5 * time.Millisecond)
			a.send(edition.UrgencyNormal, "four")
			a.want("two", "three", "four")
			abort()

			s, stop := run(t, o)
			a.s = s
			if got := a.waiting(); len(got) < 3 || fmt.Sprint(got[len(got)-3:]) != "[two three four]" {
				t.Fatalf("waiting %q", got)
			}
			count := s.kept.count.Load()
			if int(count) != len(a.waiting()) || s.kept.bytes.Load() <= 0 {
				t.Fatalf("%d bodies, %d bytes", count, s.kept.bytes.Load())
			}
			u, err := s.Pending(nil, edition.Direct, a.app.UAID)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range u {
				a.ack(e)
			}
			stop()
			s, _ = run(t, o)
			a.s = s
			a.want()
			if n := s.kept.count.Load(); n != 0 {
				t.Errorf("%d bodies are counted", n)
			}
		})
	}
}

// TestDeviceFull has the oldest of the lowest urgency make room.
func TestDeviceFull(t *testing.T) {
	s, _ := run(t, Options{DeviceMessages: 3})
	a := newAppServer(t, s, 1)
	for _, m := range []struct {
		urgency edition.Urgency
		data    string
	}{
		{edition.UrgencyHigh, "high 1"},
		{edition.UrgencyLow, "low 2"},
		{edition.UrgencyLow, "low 3"},
		{edition.UrgencyNormal, "normal 4"},
	} {
		if _, err := a.send(m.urgency, m.data); err != nil {
			t.Fatal(err)
		}
	}
	a.want("high 1", "low 3", "normal 4")
	a.send(edition.UrgencyHigh, "high 5")
	a.send(edition.UrgencyHigh, "high 6")
	a.want("high 1", "high 5", "high 6")
	if _, err := a.send(edition.UrgencyNormal, "normal 7"); !errors.Is(err, edition.ErrTooMany) {
		t.Fatalf("a less urgent one: %v", err)
	}
	a.want("high 1", "high 5", "high 6")
	if n := s.kept.count.Load(); n != 3 {
		t.Errorf("%d bodies are counted", n)
	}
}

// TestNoRoomMadeInVain has messages that are refused cost no other one.
func TestNoRoomMadeInVain(t *testing.T) {
	s, _ := run(t, Options{DeviceMessages: 3, DeviceBytes: 9000})
	a := newAppServer(t, s, 1)
	for _, m := range []struct {
		urgency edition.Urgency
		data    string
	}{{edition.UrgencyLow, "low"}, {edition.UrgencyHigh, strings.Repeat("h", 4000)}, {edition.UrgencyHigh, strings.Repeat("i", 4000)}} {
		if _, err := a.send(m.urgency, m.data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.send(edition.UrgencyNormal, strings.Repeat("n", 4000)); !errors.Is(err, edition.ErrTooMany) {
		t.Fatalf("one that would need the room of more urgent ones: %v", err)
	}
	gone := edition.Key{UAID: a.app.UAID, AppID: a.slots.Next(a.now)}
	b := &edition.Body{AppID: edition.NewAppID(), Urgency: edition.UrgencyHigh}
	rs, err := s.Deliver(edition.Update{{Key: gone}}, edition.Delivery{Make: true, Bodies: []*edition.Body{b}}).Wait(t.Context())
	if err != nil || rs[0].Outcome != edition.OutcomeGone {
		t.Fatalf("a message for an app that is gone: %v, %v", rs, err)
	}
	if got := a.waiting(); len(got) != 3 || got[0] != "low" {
		t.Fatalf("%d are waiting", len(got))
	}
	if _, err := s.State(gone); err == nil {
		t.Error("the slot of a message that was refused is there")
	}
}

func TestDeviceBytes(t *testing.T) {
	s, _ := run(t, Options{DeviceBytes: 10_000})
	a := newAppServer(t, s, 1)
	for i := range 20 {
		if _, err := a.send(edition.UrgencyNormal, string(bytes.Repeat([]byte{byte('a' + i)}, 4000))); err != nil {
			t.Fatal(err)
		}
	}
	got := a.waiting()
	if len(got) != 2 || got[0][0] != 'a'+18 || got[1][0] != 'a'+19 {
		t.Fatalf("%d are waiting", len(got))
	}
}

// TestMessagesFull bounds the messages of all devices.
func TestMessagesFull(t *testing.T) {
	for name, o := range map[string]Options{"in memory": {}, "in tables": {MemoryRows: 1, JournalBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			o.Messages = 80
			s, _ := run(t, o)
			var all []*appServer
			for i := range 10 {
				all = append(all, newAppServer(t, s, i))
			}
			refused := 0
			for i := range 400 {
				urgency := edition.UrgencyNormal
				if i%40 == 0 {
					urgency = edition.UrgencyHigh
				}
				if _, err := all[i%10].send(urgency, fmt.Sprint(i)); errors.Is(err, edition.ErrUnavailable) {
					refused++
					time.Sleep(time.Millisecond)
				} else if err != nil {
					t.Fatal(err)
				}
				if n := s.kept.count.Load(); n > 80 {
					t.Fatalf("%d messages", n)
				}
			}
			// Nothing moves once there is room again.
			s.trimmer.ring()
			wait(t, "room", func() bool { return !s.crowded() })
			n, high := 0, 0
			for i, a := range all {
				for _, data := range a.waiting() {
					n++
					if i == 0 && data != "" {
						high++
					}
				}
			}
			if n == 0 || n > 80 || high == 0 {
				t.Errorf("%d are waiting, %d of the first; %d were refused", n, high, refused)
			}
			if int(s.kept.count.Load()) != n {
				t.Errorf("%d are counted, %d are there", s.kept.count.Load(), n)
			}
		})
	}
}
