package session

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

const thirdToken = "a-token-that-comes-later"

// patientHellos lets a relay be slow to say its name.
func patientHellos(o *Options) { o.Limits.Hello = time.Hour }

// TestTokensAreRotated has a relay change its token in the three steps of the
// operator's guide. What is bound to its name stays.
func TestTokensAreRotated(t *testing.T) {
	d := open(t, patientHellos)
	other := Relay{Name: "r2", Tokens: []string{otherToken}}
	v := d.registered(d.relay("r1"))
	old, second := d.asRelay("r1", relayToken, wire.CustodyDevice), d.asRelay("r2", otherToken, wire.CustodyRelay)

	d.Reload([]Relay{{Name: "r1", Tokens: []string{thirdToken, relayToken}}, other})
	old.barrier() // it stays
	d.deliver(v.Key, 1)
	old.update(v.Key, 1)
	fresh := d.asRelay("r1", thirdToken, wire.CustodyDevice)
	old.wantClosed(wire.CloseReplaced, "newer")
	fresh.update(v.Key, 1) // not acknowledged

	late := d.asRelay("r1", relayToken, wire.CustodyDevice)
	fresh.wantClosed(wire.CloseReplaced, "newer")
	unsaid, unsaidToo := d.connect(relayToken), d.connect(thirdToken)
	d.Reload([]Relay{{Name: "r1", Tokens: []string{thirdToken}}, other})
	late.wantClosed(wire.CloseUnauthorized, "counts no more")
	unsaid.wantClosed(wire.CloseUnauthorized, "counts no more")
	if _, resp, err := d.tryConnect(relayToken); err == nil || resp == nil || resp.StatusCode != 401 {
		t.Errorf("the old token: %v", err)
	}
	unsaidToo.enter(wire.Message{Relay: "r1", Store: "store-of-r1"}, wire.CustodyDevice)
	unsaidToo.update(v.Key, 1)
	unsaidToo.report(wire.AckDelivered, event(v, 1))
	unsaidToo.barrier()
	d.wantState(v.Key, edition.StateDelivered)
	second.barrier()
	if a, err := d.store.Agent(v.UAID); err != nil || a.Owner != d.relay("r1") {
		t.Errorf("the device is bound to %v, %v", a.Owner, err)
	}
}

// TestRelaysComeAndGo adds a relay and takes one away.
func TestRelaysComeAndGo(t *testing.T) {
	var log bytes.Buffer
	d := open(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	v := d.registered(d.relay("r1"))
	first, second, dev := d.asRelay("r1", relayToken, wire.CustodyDevice), d.asRelay("r2", otherToken, wire.CustodyRelay), d.connect()
	mine := d.registered(edition.Direct)
	dev.hello(mine)
	waking := d.wake(t.Context(), wire.WakeRequest{UAID: &v.UAID})
	first.hear(wire.TypeWake)
	d.Reload([]Relay{{Name: "r3", Tokens: []string{thirdToken}, Custody: wire.CustodyRelay}, {Name: "r2", Tokens: []string{otherToken}}})
	first.wantClosed(wire.CloseUnauthorized, "counts no more")
	if a := <-waking; !errors.Is(a.err, edition.ErrUnavailable) {
		t.Errorf("what the relay was asked: %+v", a)
	}
	if _, err := d.Wake(t.Context(), "r1", wire.WakeRequest{}); !errors.Is(err, edition.ErrNotFound) {
		t.Errorf("what it is asked now: %v", err)
	}
	if status, _ := d.post(wire.PathUpdate, wire.UpdateRequest{Relay: "r1"}, relayToken); status != 401 {
		t.Errorf("a poll with its token: %d", status)
	}
	d.asRelay("r3", thirdToken, wire.CustodyRelay).barrier()
	second.barrier()
	dev.barrier()

	// It comes back, and what waits for it is there; the custody that a relay
	// gets is asked for with its next hello.
	d.deliver(v.Key, 3)
	d.Reload([]Relay{{Name: "r1", Tokens: []string{thirdToken}}, {Name: "r2", Tokens: []string{otherToken}}})
	again := d.asRelay("r1", thirdToken, wire.CustodyDevice)
	again.update(v.Key, 3)
	d.asRelay("r2", otherToken, wire.CustodyDevice).barrier()
	d.close() // nobody writes to the log any more
	for _, secret := range []string{relayToken, otherToken, thirdToken} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("a token is in the log:\n%s", log.String())
		}
	}
	if !strings.Contains(log.String(), "relay=r1") {
		t.Errorf("the log does not say who was disconnected:\n%s", log.String())
	}
}

// TestSharedTokenIsTakenFromOne leaves the others that have it alone.
func TestSharedTokenIsTakenFromOne(t *testing.T) {
	both := func(second string) []Relay {
		return []Relay{{Name: "r1", Tokens: []string{relayToken}}, {Name: "r2", Tokens: []string{second}}}
	}
	d := open(t, func(o *Options) { o.Relays = both(relayToken); patientHellos(o) })
	first, second, unsaid := d.asRelay("r1", relayToken, wire.CustodyDevice), d.asRelay("r2", relayToken, wire.CustodyDevice), d.connect(relayToken)
	d.Reload(both(otherToken))
	second.wantClosed(wire.CloseUnauthorized, "counts no more")
	first.barrier()
	unsaid.say(wire.Message{Type: wire.TypeHello, Relay: "r2"})
	unsaid.wantError(403, wire.TypeHello, "not authenticated")
	unsaid.enter(wire.Message{Relay: "r1", Store: "store-of-r1"}, wire.CustodyDevice)
	d.asRelay("r2", otherToken, wire.CustodyDevice).barrier()
}

// TestPollsOfRelaysEnd has two relays wait in polls, of which one is removed.
func TestPollsOfRelaysEnd(t *testing.T) {
	d := open(t, nil)
	v := d.registered(d.relay("r2"))
	type answer struct {
		status int
		u      wire.UpdateResponse
	}
	wait := func(name, token string) chan answer {
		done := make(chan answer, 1)
		go func() {
			status, u := d.poll(wire.UpdateRequest{Relay: name, Store: "store-of-" + name, Wait: "60s"}, token)
			done <- answer{status, u}
		}()
		for !d.hub.Connected(edition.Holder{Owner: d.relay(name)}) {
			time.Sleep(time.Millisecond)
		}
		return done
	}
	first, second := wait("r1", relayToken), wait("r2", otherToken)
	d.Reload([]Relay{{Name: "r2", Tokens: []string{thirdToken, otherToken}}})
	if a := <-first; a.status != 401 {
		t.Errorf("the poll of the relay that was removed: %d", a.status)
	}
	d.deliver(v.Key, 7)
	if a := <-second; a.status != 200 || len(a.u.Updates) != 1 {
		t.Errorf("the other one: %+v", a)
	}
}

// TestReloadBesideHellos takes a relay away while it connects: no connection of
// it stays, whichever was first.
func TestReloadBesideHellos(t *testing.T) {
	d := open(t, nil)
	owner := d.relay("r1")
	for i := range 60 {
		d.Reload([]Relay{{Name: "r1", Tokens: []string{relayToken}}})
		var both sync.WaitGroup
		var c *peerConn
		both.Go(func() {
			var err error
			if c, _, err = d.tryConnect(relayToken); err == nil {
				c.ws.WriteJSON(wire.Message{Type: wire.TypeHello, Relay: "r1", Store: "store-of-r1"})
			}
		})
		both.Go(func() {
			time.Sleep(time.Duration(i*20) * time.Microsecond)
			d.Reload(nil)
		})
		both.Wait()
		if c == nil {
			continue // 401
		}
		c.wantClosed(wire.CloseUnauthorized, "")
		for end := time.Now().Add(patient); d.hub.Connected(edition.Holder{Owner: owner}); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the relay is still connected")
			}
		}
	}
}

// TestWhatProvesARelay tries badges against a roster.
func TestWhatProvesARelay(t *testing.T) {
	relays := []Relay{
		{Name: "token", Tokens: []string{"one", "two", ""}},
		{Name: "cert", CertName: "cert.example"},
		{Name: "both", Tokens: []string{"two"}, CertName: "both.example"},
		{Name: "neither"},
	}
	r := newRoster(relays, nil)
	token := func(s string) *badge { return &badge{hash: sha256.Sum256([]byte(s))} }
	cert := func(cn string, dns ...string) *badge {
		return &badge{cert: &x509.Certificate{Subject: pkix.Name{CommonName: cn}, DNSNames: dns}}
	}
	for name, c := range map[string]struct {
		b    *badge
		want string
	}{
		"the first token":     {token("one"), "token"},
		"the second, shared":  {token("two"), "token both"},
		"no token":            {token(""), ""},
		"another":             {token("three"), ""},
		"a common name":       {cert("cert.example"), "cert"},
		"a DNS name":          {cert("x", "y", "both.example"), "both"},
		"two names":           {cert("cert.example", "both.example"), "cert both"},
		"a stranger":          {cert("x", "y"), ""},
		"a certificate of ''": {cert("", ""), ""},
		"a token as a CN":     {cert("one"), ""},
	} {
		var got []string
		for _, p := range r.proven(c.b) {
			got = append(got, p.name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s proves %q, want %q", name, got, c.want)
		}
	}
	next := newRoster(relays[1:], r)
	if r.proves(token("one"), nil) != true || next.proves(token("one"), nil) || !next.proves(token("two"), r.named("both")) || next.proves(token("two"), r.named("token")) {
		t.Error("what the next roster takes is not what it says")
	}
}
