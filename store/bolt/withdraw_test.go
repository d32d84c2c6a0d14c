package bolt

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// recall withdraws a message that a relay may have.
func (a *appServer) recall(e edition.Event, relay edition.Owner) {
	a.Helper()
	if withdrawn, told, err := a.s.Withdraw(a.Context(), e); !withdrawn || told != relay || err != nil {
		a.Fatalf("withdrawn %v, relay %d is told: %v", withdrawn, told, err)
	}
}

// at moves the app server's device behind a relay.
func (a *appServer) at(name string) edition.Owner {
	a.Helper()
	relay, err := a.s.Relay(a.Context(), name, "1")
	if err == nil {
		err = a.s.Bind(a.Context(), edition.Agent{UAID: a.app.UAID, Owner: relay})
	}
	if err != nil {
		a.Fatal(err)
	}
	return relay
}

// waitingAt returns what waits for a relay: the data, or that it is withdrawn.
func (a *appServer) waitingAt(relay edition.Owner) (out []string) {
	a.Helper()
	u, _, _, err := a.s.Scan(nil, relay, edition.Key{}, 1000)
	if err != nil {
		a.Fatal(err)
	}
	all, err := a.s.Bodies(u)
	if err != nil || len(u) > 0 && len(all) != len(u) {
		a.Fatalf("%d bodies of %d (%v)", len(all), len(u), err)
	}
	for _, b := range all {
		if b.Withdrawn {
			out = append(out, "withdrawn")
			continue
		}
		out = append(out, string(b.Data))
	}
	return out
}

// TestWithdrawalsLast keeps what a relay is to be told over crashes, and of what
// was withdrawn here nothing comes back.
func TestWithdrawalsLast(t *testing.T) {
	for name, o := range map[string]Options{"in memory": {}, "in tables": {MemoryRows: 1, JournalBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			o.Path = filepath.Join(t.TempDir(), "edition.db")
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			abort := start(t, s)
			a := newAppServer(t, s, 1)
			relay := a.at("r")
			a.send(edition.UrgencyNormal, "one")
			two, _ := a.send(edition.UrgencyNormal, "two")
			a.recall(two, relay)
			if got := fmt.Sprint(a.waitingAt(relay)); got != "[one withdrawn]" {
				t.Fatal(got)
			}

			own := benchKey(2)
			if err := s.Register(t.Context(), edition.Registration{Key: own, Upstream: "up"}); err != nil {
				t.Fatal(err)
			}
			slot := edition.Key{UAID: own.UAID, AppID: edition.TopicSlot(own.AppID, "t")}
			for v, b := range []*edition.Body{{AppID: own.AppID, Data: []byte("x")}, {Withdrawn: true, TTL: time.Hour}} {
				how := edition.Delivery{Adopt: true, Upstream: "up", Bodies: []*edition.Body{b}}
				rs, err := s.Deliver(edition.Update{{Key: slot, Version: edition.Version(v)}}, how).Wait(t.Context())
				if err != nil || rs[0].Err != nil {
					t.Fatal(rs, err)
				}
			}
			abort()

			s, stop := run(t, o)
			a.s = s
			if got := fmt.Sprint(a.waitingAt(relay)); got != "[one withdrawn]" {
				t.Fatal(got)
			}
			if u, err := s.Pending(nil, edition.Direct, own.UAID); err != nil || len(u) != 0 {
				t.Fatal(u, err)
			}
			if u, err := s.Reports(nil, "up", edition.Key{}, 10); err != nil || len(u) != 1 || u[0] != (edition.Event{Key: slot, Version: 1}) {
				t.Fatal(u, err)
			}
			u, _, _, err := s.Scan(nil, relay, edition.Key{}, 10)
			if err != nil || s.Sent(relay, u) != nil {
				t.Fatal(err)
			}
			if n, err := s.Ack(relay, u, edition.AckDelivered); err != nil || n.Cleared != 2 {
				t.Fatal(n, err)
			}
			stop()
			s, _ = run(t, o)
			a.s = s
			if got := a.waitingAt(relay); len(got) != 0 || s.kept.count.Load() != 0 || s.kept.bytes.Load() != 0 {
				t.Errorf("waiting %q, %d bodies of %d bytes are counted", got, s.kept.count.Load(), s.kept.bytes.Load())
			}
		})
	}
}

// TestWithdrawnOnlyWhenDurable: nobody hears that a message is withdrawn while a
// crash could bring it back, whoever asks.
func TestWithdrawnOnlyWhenDurable(t *testing.T) {
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "edition.db")})
	if err != nil {
		t.Fatal(err)
	}
	held, reached := make(chan chan struct{}, 1), make(chan struct{}, 1)
	s.fault = func(stage string) error {
		if stage == "end" {
			select {
			case release := <-held:
				reached <- struct{}{}
				<-release
			default:
			}
		}
		return nil
	}
	begin(t, s)
	k := benchKey(1)
	if err := s.Register(t.Context(), edition.Registration{Key: k, Upstream: "up"}); err != nil {
		t.Fatal(err)
	}
	slot := edition.Key{UAID: k.UAID, AppID: edition.TopicSlot(k.AppID, "t")}
	deliver := func(v edition.Version, b edition.Body) *edition.Receipt {
		return s.Deliver(edition.Update{{Key: slot, Version: v}}, edition.Delivery{Adopt: true, Upstream: "up", Bodies: []*edition.Body{&b}})
	}
	message, withdrawn := edition.Body{AppID: k.AppID, Data: []byte("x")}, edition.Body{Withdrawn: true, TTL: time.Hour}
	if rs, err := deliver(5, message).Wait(t.Context()); err != nil || rs[0].Outcome != edition.OutcomeStored {
		t.Fatal(rs, err)
	}

	release := make(chan struct{})
	held <- release
	all := []*edition.Receipt{deliver(6, withdrawn)}
	<-reached
	all = append(all, deliver(6, withdrawn), deliver(5, message)) // on another connection
	if u, err := s.Pending(nil, edition.Direct, k.UAID); err != nil || len(u) != 0 {
		t.Fatal(u, err)
	}
	for i, r := range all {
		select {
		case <-r.Done():
			t.Errorf("%d was answered", i)
		default:
		}
	}
	if u, err := s.Reports(nil, "up", edition.Key{}, 10); err != nil || len(u) != 0 {
		t.Fatalf("reports %v, %v", u, err)
	}
	close(release)
	for i, r := range all {
		if rs, err := r.Wait(t.Context()); err != nil || rs[0].Outcome != edition.OutcomeDelivered {
			t.Errorf("%d: %v, %v", i, rs, err)
		}
	}
	if u, err := s.Reports(nil, "up", edition.Key{}, 10); err != nil || len(u) != 1 || u[0].Version != 6 {
		t.Fatalf("reports %v, %v", u, err)
	}
}

// TestWithdrawalsTakeNoRoom: they go before any message has to.
func TestWithdrawalsTakeNoRoom(t *testing.T) {
	s, _ := run(t, Options{DeviceMessages: 3})
	a := newAppServer(t, s, 1)
	relay := a.at("r")
	for _, data := range []string{"one", "two", "three"} {
		e, err := a.send(edition.UrgencyHigh, data)
		if err != nil {
			t.Fatal(err)
		}
		if data != "one" {
			a.recall(e, relay)
		}
	}
	for i, want := range []string{"[one withdrawn low 0]", "[one low 0 low 1]", "[one low 1 low 2]"} {
		if _, err := a.send(edition.UrgencyVeryLow, fmt.Sprint("low ", i)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(a.waitingAt(relay)); got != want {
			t.Errorf("waiting %s, want %s", got, want)
		}
	}
}

// TestBodyRecord: what was written before there were withdrawals is read, and
// what is written now is taken for a message by who does not know them.
func TestBodyRecord(t *testing.T) {
	old := append(bytes.Repeat([]byte{7}, 16), byte(edition.UrgencyHigh), 1, 1, 'e', 0, 0, 2, 'h', 'i')
	b, rest, err := readBody(old)
	if err != nil || len(rest) != 0 || b.Withdrawn || !b.Receipt || b.Urgency != edition.UrgencyHigh || string(b.Data) != "hi" {
		t.Fatalf("%+v, %v", b, err)
	}
	if got := appendBody(nil, b); !bytes.Equal(got, old) {
		t.Errorf("written as %x, was %x", got, old)
	}
	for _, b := range []*edition.Body{{Withdrawn: true}, {Withdrawn: true, Receipt: true}, {}} {
		if got, _, err := readBody(appendBody(nil, b)); err != nil || got.Withdrawn != b.Withdrawn || got.Receipt != b.Receipt {
			t.Errorf("%+v, %v", got, err)
		}
		r := row{flags: isLive}
		r.pend(1, 0, 1)
		if r.carry(b); r.withdraws() != b.Withdrawn {
			t.Errorf("a row with %+v withdraws: %v", b, r.withdraws())
		}
	}
}
