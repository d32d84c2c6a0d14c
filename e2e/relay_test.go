package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestRelayLosesItsDisk: with custody: device the loss of a relay's data
// folder loses nothing.
func TestRelayLosesItsDisk(t *testing.T) {
	t.Parallel()
	server := newServer(t, "near").start()
	relay := newRelay(t, "near", server).start()
	d := newDevice().register(t, relay)
	accepted(t, put(d.endpoint, 7))
	waitStored(t, relay, d, 7)

	relay.kill()
	relay.loseDisk(t)
	relay.start()
	w := awaitHello(t, d, relay)
	w.expectUpdate(t, d, 7)
	w.ack(t, d, 7)
	d.awaitState(t, 7, "delivered")
}

// loseDisk removes all that a node has kept, which must not be running.
func (n *node) loseDisk(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(n.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(n.data + "/" + e.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// waitStored polls without an ack until the node has the version.
func waitStored(t *testing.T, at *node, d *device, version uint64) {
	t.Helper()
	for start := time.Now(); d.poll(t, at, "0s", nil)[d.uaid][d.appid] != version; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("version %d did not reach %s", version, at.name)
		}
	}
}

// awaitHello says hello until it is accepted: a relay that has just started
// may not have reached its upstream.
func awaitHello(t *testing.T, d *device, at *node) *ws {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		w := mustDial(t, at)
		if err := w.send(obj{"type": "hello", "agents": []obj{d.agent()}}); err != nil {
			t.Fatal(err)
		}
		m, err := w.read(patience)
		if err == nil && m.Type == "hello" && len(m.UAIDs) == 1 {
			return w
		}
		if err == nil && m.Type == "error" && m.Status != http.StatusServiceUnavailable {
			t.Fatalf("hello at %s: %+v", at.name, m)
		}
		w.conn.Close()
		if time.Since(start) > patience {
			t.Fatalf("%s goes on refusing the device", at.name)
		}
	}
}

// TestRoam: a device moves between two relays and the server at any moment,
// and what it has not acknowledged follows it.
func TestRoam(t *testing.T) {
	t.Parallel()
	server := newServer(t, "a", "b").start()
	a := newRelay(t, "a", server).start()
	b := newRelay(t, "b", server).start()
	d := newDevice().register(t, a)
	accepted(t, put(d.endpoint, 1))
	// Not by a poll, which would show that the device is there: told upstream a
	// moment later, that may be after it has gone to b.
	a.awaitMetric(`edition_relay_events_total{result="stored",upstream="upstream"}`, 1)
	for i, at := range []*node{b, server, a, b, a, server} {
		v := uint64(i + 1)
		w := awaitHello(t, d, at)
		// A relay that the device left may still hold an older version, and
		// cannot know that it has been delivered elsewhere.
		for got := uint64(0); got < v; {
			m := w.expect(t, "update")
			if got = m.Updates[d.uaid][d.appid]; got > v {
				t.Fatalf("version %d of %d", got, v)
			}
			w.ack(t, d, got)
		}
		d.awaitState(t, v, "delivered")
		w.conn.Close()
		accepted(t, put(d.endpoint, v+1))
	}
}

// TestUpstreamAway: a relay whose upstream is away serves its devices,
// answers registrations with 503, and everything arrives afterwards.
func TestUpstreamAway(t *testing.T) {
	t.Parallel()
	server := newServer(t, "near").start()
	relay := newRelay(t, "near", server).start()
	d := newDevice().register(t, relay)
	accepted(t, put(d.endpoint, 3))
	waitStored(t, relay, d, 3)
	server.kill()

	w := d.hello(t, relay)
	w.expectUpdate(t, d, 3)
	w.ack(t, d, 3)
	w.barrier(t)
	e := newDevice()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r := post(t, relay.url+"/v1/register", obj{"uaid": e.uaid, "secret": e.secret, "appid": e.appid})
		if r.status == http.StatusServiceUnavailable && r.header.Get("Retry-After") != "" {
			break
		}
		if r.status == http.StatusCreated || time.Since(start) > patience {
			t.Fatalf("register with upstream away: %d %v %s", r.status, r.header, r.body)
		}
	}
	if r, err := request("GET", relay.admin+"/readyz", "", nil); err != nil || r.status != 200 {
		t.Errorf("readyz with upstream away: %v %d %s", err, r.status, r.body)
	}
	if err := relay.stop(); err != nil { // the report of the ack must survive this
		t.Errorf("the relay ended with %v", err)
	}
	relay.start()
	server.start()
	d.awaitState(t, 3, "delivered")
	accepted(t, put(d.endpoint, 4))
	awaitHello(t, d, relay).expectUpdate(t, d, 4)
}

// TestTwoUpstreams: one relay, two servers.
func TestTwoUpstreams(t *testing.T) {
	t.Parallel()
	one, two := newServer(t, "near").start(), newServer(t, "near").start()
	relay := newRelay(t, "near", one)
	relay.configure(one, "mode: auto}\n  - {name: other, url: \""+two.url+"\", relay: near, token_file: \""+tokenFile(t, "near")+"\"").start()
	first, second := newDevice().register(t, relay), newDevice()
	ask := obj{"uaid": second.uaid, "secret": second.secret, "appid": second.appid, "upstream": "other"}
	r := post(t, relay.url+"/v1/register", ask)
	for start := time.Now(); r.status == http.StatusServiceUnavailable && time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		r = post(t, relay.url+"/v1/register", ask) // it may not be connected to it yet
	}
	if r.status != http.StatusCreated {
		t.Fatalf("register at the other upstream: %d %s", r.status, r.body)
	}
	second.endpoint = r.json(t)["endpoint"].(string)
	for _, d := range []*device{first, second} {
		w := d.hello(t, relay)
		accepted(t, put(d.endpoint, 11))
		w.expectUpdate(t, d, 11)
		w.ack(t, d, 11)
		d.awaitState(t, 11, "delivered")
	}
}

// TestRelayAuth: a relay without the token, or under another's name, gets nothing.
func TestRelayAuth(t *testing.T) {
	t.Parallel()
	server := newServer(t, "near").start()
	if _, resp, err := dial(server, http.Header{"Authorization": {"Bearer wrong"}}); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token was not refused with 401: %v %v", err, resp)
	}
	w := mustDial(t, server)
	w.send(obj{"type": "hello", "relay": "near"})
	if m, err := w.read(patience); err == nil && m.Type != "error" {
		t.Errorf("a relay's hello without a token: %+v", m)
	}
	w, _, err := dial(server, http.Header{"Authorization": {"Bearer " + tokenOf("near")}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close()
	w.send(obj{"type": "hello", "relay": "other"})
	if m, err := w.read(patience); err == nil && (m.Type != "error" || m.Status != http.StatusForbidden) {
		t.Errorf("a relay's hello under another name: %+v", m)
	}
	if a := post(t, server.url+"/v1/update", obj{"relay": "near"}); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		t.Errorf("a relay's poll without a token: %d %s", a.status, a.body)
	}
}

// TestLoop: relays that are each other's upstream say so, and serve on.
func TestLoop(t *testing.T) {
	t.Parallel()
	one := newNode(t, "one", []string{"--name", "one"}, []string{"two"})
	two := newRelay(t, "two", one, "one")
	one.args = append(one.args, "--upstream", two.url, "--token-file", tokenFile(t, "one"))
	one.start()
	two.start()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		said := ""
		for _, n := range []*node{one, two} {
			a, err := request("GET", n.admin+"/readyz", "", nil)
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("readyz of %s: %v %d %s", n.name, err, a.status, a.body)
			}
			said += string(a.body)
		}
		if strings.Contains(said, "form a loop") {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("a loop is not noticed: %s", said)
		}
	}
}
