package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// taken is the series of what a relay whose upstream is called so has taken.
func taken(upstream, result string) string {
	return fmt.Sprintf(`edition_relay_events_total{result=%q,upstream=%q}`, result, upstream)
}

// posted is a message that was POSTed, for a receipt.
type posted struct{ location, receipt string }

// send POSTs a message and returns where it is.
func (d *device) send(t *testing.T, text string, headers ...string) posted {
	t.Helper()
	a := d.post(t, []byte(text), append(headers, "Prefer", "respond-async")...)
	receipt, _, ok := strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	if a.status != http.StatusAccepted || !ok {
		t.Fatalf("POST: %d %v", a.status, a.header)
	}
	return posted{a.header.Get("Location"), receipt}
}

// withdraw wants a DELETE to be answered so.
func (m posted) withdraw(t *testing.T, want int) {
	t.Helper()
	if a, err := request(http.MethodDelete, m.location, "", nil); err != nil || a.status != want {
		t.Fatalf("DELETE: %v %d %s, want %d", err, a.status, a.body, want)
	}
}

// gone wants the receipt to say that the message never comes.
func (m posted) gone(t *testing.T) {
	t.Helper()
	if a, err := request(http.MethodGet, m.receipt, "", nil); err != nil || a.status != http.StatusGone {
		t.Fatalf("receipt: %v %d %s, want 410", err, a.status, a.body)
	}
}

// bodies says hello to a node that may have just started, and asks for bodies.
func (d *device) bodies(t *testing.T, at *node) *ws {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		w := mustDial(t, at)
		if err := w.send(obj{"type": "hello", "agents": []obj{d.agent()}, "bodies": true}); err != nil {
			t.Fatal(err)
		}
		if m, err := w.read(patience); err == nil && m.Type == "hello" && len(m.UAIDs) == 1 {
			return w
		}
		w.conn.Close()
		if time.Since(start) > patience {
			t.Fatalf("%s does not take the device", at.name)
		}
	}
}

// until takes messages, acknowledges them, and returns all up to the one that is
// waited for, which must be the last.
func (w *ws) until(t *testing.T, last string) (got []string) {
	t.Helper()
	for !slices.Contains(got, last) {
		var m told
		w.conn.SetReadDeadline(time.Now().Add(patience))
		if err := w.conn.ReadJSON(&m); err != nil {
			t.Fatalf("with %v: %v", got, err)
		}
		for _, c := range m.Messages {
			data, err := base64.RawURLEncoding.DecodeString(c.Data)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(data))
		}
		if err := w.send(obj{"type": "ack", "updates": m.Updates}); err != nil {
			t.Fatal(err)
		}
	}
	w.barrier(t)
	return got
}

// takeAll passes on all messages, and acknowledges them, until the connection ends.
func (w *ws) takeAll(texts chan<- string) {
	defer close(texts)
	for {
		var m told
		w.conn.SetReadDeadline(time.Now().Add(patience))
		if w.conn.ReadJSON(&m) != nil {
			return
		}
		for _, c := range m.Messages {
			data, _ := base64.RawURLEncoding.DecodeString(c.Data)
			texts <- string(data)
		}
		if w.send(obj{"type": "ack", "updates": m.Updates}) != nil {
			return
		}
	}
}

// expect wants these messages, in any order, the last one last.
func (d *device) expect(t *testing.T, at *node, want ...string) {
	t.Helper()
	w := d.bodies(t, at)
	defer w.conn.Close()
	got := w.until(t, want[len(want)-1])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("at %s came %q, want %q", at.name, got, want)
	}
}

// upstreamOf is what the last relay of a chain calls its upstream; "" for a
// server.
func upstreamOf(n *node) string {
	switch {
	case n.args[0] == "server":
		return ""
	case slices.Contains(n.args, "--config"):
		return "up"
	}
	return "upstream"
}

// settled waits until a node has taken as many messages, and withdrawals, since
// it was started; a server has taken them with the answer.
func (n *node) settled(result string, count int) {
	n.t.Helper()
	if up := upstreamOf(n); up != "" && count > 0 {
		n.awaitMetric(taken(up, result), float64(count))
	}
}

// TestWithdraw has messages withdrawn that relays have taken: in no way do they
// come to the device, and others do.
func TestWithdraw(t *testing.T) {
	t.Run("hops=0", func(t *testing.T) {
		t.Parallel()
		_, last := chain(t, 0, "")
		storyWithdraw(t, last)
	})
	for hops := 1; hops <= 2; hops++ {
		for mode, keys := range upstreamModes {
			for _, custody := range []string{"device", "relay"} {
				t.Run(fmt.Sprintf("hops=%d/upstream=%s/custody=%s", hops, mode, custody), func(t *testing.T) {
					t.Parallel()
					_, last := chain(t, hops, keys+", custody: "+custody)
					storyWithdraw(t, last)
				})
			}
		}
	}
}

func storyWithdraw(t *testing.T, at *node) {
	t.Helper()
	d := newDevice().register(t, at)
	d.send(t, "early")
	m := d.send(t, "withdrawn", "Urgency", "high")
	topic := d.send(t, "withdrawn topic", "Topic", "t")
	at.settled("stored", 3)
	for _, m := range []posted{m, topic} {
		m.withdraw(t, http.StatusNoContent)
		m.withdraw(t, http.StatusGone)
		m.gone(t)
	}
	at.settled("withdrawn", 2)

	// Over each transport; what comes is not acknowledged yet.
	if n := len(d.poll(t, at, "0s", nil)[d.uaid]); n != 1 {
		t.Errorf("a poll shows %d events, want 1", n)
	}
	var a struct{ Messages []carried }
	post(t, at.url+"/v1/update", obj{"agents": []obj{d.agent()}, "bodies": true}).into(t, &a)
	if len(a.Messages) != 1 || a.Messages[0].Data != base64.RawURLEncoding.EncodeToString([]byte("early")) {
		t.Errorf("a poll for bodies shows %+v", a.Messages)
	}
	s := d.events(t, at, 0)
	if u := s.update(t); len(u.Messages) != 1 || len(u.Updates[d.uaid]) != 1 {
		t.Errorf("the stream shows %+v", u)
	}
	s.close()
	w := d.hello(t, at)
	if u := w.expect(t, "update").Updates[d.uaid]; len(u) != 1 || u[d.appid] == 0 {
		t.Errorf("without bodies: %v", u)
	}
	w.conn.Close()

	// A new message of the topic; a restart in between.
	d.send(t, "new topic", "Topic", "t")
	if err := at.stop(); err != nil {
		t.Errorf("%s ended with %v", at.name, err)
	}
	at.start()
	last := d.send(t, "later")
	d.expect(t, at, "early", "new topic", "later")
	awaitReceipt(t, last.receipt)
	m.gone(t)
	topic.gone(t)
	last.withdraw(t, http.StatusGone)
}

// into decodes an answer.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %d %s", err, a.status, a.body)
	}
}

// TestWithdrawFromRelayThatIsAway: the relays learn of it when they are back, in
// whatever order, also one whose device shows up elsewhere meanwhile.
func TestWithdrawFromRelayThatIsAway(t *testing.T) {
	t.Parallel()
	server, last := newServer(t, "mid", "other"), (*node)(nil)
	server.start()
	mid := newRelay(t, "mid", server, "edge").start()
	last = newRelay(t, "edge", mid).start()
	d, away := newDevice().register(t, last), newDevice().register(t, last)
	m, elsewhere := d.send(t, "withdrawn"), away.send(t, "withdrawn elsewhere")
	d.send(t, "early")
	last.settled("stored", 3)

	last.kill()
	mid.kill()
	m.withdraw(t, http.StatusNoContent)
	server.kill()
	server.start() // what it has answered for is durable
	m.withdraw(t, http.StatusGone)
	elsewhere.withdraw(t, http.StatusNoContent)
	// The device shows up at the server: nothing for it, but what comes later.
	w := away.bodies(t, server)
	away.send(t, "to the server")
	if got := w.until(t, "to the server"); len(got) != 1 {
		t.Errorf("at the server came %q", got)
	}
	w.conn.Close()
	// And behind another relay.
	other := newRelay(t, "other", server).start()
	w = away.bodies(t, other)
	away.send(t, "to the other")
	if got := w.until(t, "to the other"); len(got) != 1 {
		t.Errorf("at the other relay came %q", got)
	}
	w.conn.Close()

	mid.start()
	mid.settled("withdrawn", 2)
	last.start()
	last.settled("withdrawn", 2)
	d.send(t, "later")
	d.expect(t, last, "early", "later")
	w = away.bodies(t, last)
	away.send(t, "back")
	if got := w.until(t, "back"); len(got) != 1 {
		t.Errorf("back at the relay came %q", got)
	}
	m.gone(t)
	elsewhere.gone(t)
}

// TestWithdrawFromLostRelay: a relay that has lost its disk is told, and the
// device is served.
func TestWithdrawFromLostRelay(t *testing.T) {
	t.Parallel()
	server := newServer(t, "near").start()
	relay := newRelay(t, "near", server).start()
	d := newDevice().register(t, relay)
	m := d.send(t, "withdrawn")
	d.send(t, "early")
	relay.settled("stored", 2)
	relay.kill()
	m.withdraw(t, http.StatusNoContent)
	relay.loseDisk(t)
	relay.start()
	d.bodies(t, relay).conn.Close() // the relay knows the device again
	d.send(t, "later")
	d.expect(t, relay, "early", "later")
	m.gone(t)
}

// TestWithdrawRaces: a DELETE that is answered 204 comes before the device, or
// while it is being told; one that is answered 410 has come too late.
func TestWithdrawRaces(t *testing.T) {
	t.Parallel()
	for _, custody := range []string{"device", "relay"} {
		t.Run(custody, func(t *testing.T) {
			t.Parallel()
			_, last := chain(t, 1, "mode: websocket, custody: "+custody)
			d := newDevice().register(t, last)
			w := d.bodies(t, last)
			const n = 60
			status := make([]int, n)
			var all sync.WaitGroup
			texts := make(chan string, 10*n)
			go w.takeAll(texts)
			for i := range n {
				m := d.send(t, fmt.Sprint("message ", i))
				all.Go(func() {
					time.Sleep(time.Duration(i%20) * time.Millisecond)
					if a, err := request(http.MethodDelete, m.location, "", nil); err == nil {
						status[i] = a.status
					}
				})
			}
			all.Wait()
			d.send(t, "last")
			came := make(map[string]int)
			for text := range texts {
				if came[text]++; text == "last" {
					break
				}
			}
			if came["last"] == 0 {
				t.Fatal("the connection ended")
			}
			withdrawn := 0
			for i, s := range status {
				times := came[fmt.Sprint("message ", i)]
				switch {
				case s == http.StatusNoContent && times <= 1:
					withdrawn++
				case s == http.StatusGone && times == 1:
				default:
					t.Errorf("message %d came %d times, and DELETE was answered %d", i, times, s)
				}
			}
			t.Logf("%d of %d were withdrawn, %d came", withdrawn, n, len(came)-1)
		})
	}
}

// TestWithdrawUnknown: with custody: relay a server has forgotten a message
// without a receipt as soon as the relay answers for it, and says so.
func TestWithdrawUnknown(t *testing.T) {
	t.Parallel()
	_, last := chain(t, 1, "mode: websocket, custody: relay")
	d := newDevice().register(t, last)
	a := d.post(t, []byte("forgotten"))
	last.settled("stored", 1)
	withdrawn := 0
	for start := time.Now(); ; { // until the relay's report is there in time
		r, err := request(http.MethodDelete, a.header.Get("Location"), "", nil)
		if err == nil && r.status == http.StatusGone {
			break
		}
		if err != nil || r.status != http.StatusNoContent || time.Since(start) > patience {
			t.Fatalf("DELETE: %v %d %s", err, r.status, r.body)
		}
		withdrawn++
		a = d.post(t, []byte("forgotten"))
		time.Sleep(10*time.Millisecond + time.Since(start)) // longer each time
	}
	last.settled("withdrawn", withdrawn)
	d.send(t, "later")
	d.expect(t, last, "forgotten", "later")
}

// TestWithdrawDialects: devices of other protocols.
func TestWithdrawDialects(t *testing.T) {
	for hops := range 3 {
		t.Run(fmt.Sprintf("hops=%d", hops), func(t *testing.T) {
			t.Parallel()
			at := dialects(t, hops, "mode: websocket")
			channel := uuid()
			w := other(t, at)
			uaid := w.ask(obj{"messageType": "hello", "use_webpush": true}, 200)["uaid"]
			browser := &device{endpoint: w.ask(obj{"messageType": "register", "channelID": channel}, 200)["pushEndpoint"].(string)}
			w.nothing()
			w.conn.Close()
			s := other(t, at)
			suaid := s.ask(obj{"messageType": "hello", "uaid": "", "channelIDs": []string{}}, 200)["uaid"]
			simple := &device{endpoint: s.ask(obj{"messageType": "register", "channelID": channel}, 200)["pushEndpoint"].(string)}
			s.nothing()
			s.conn.Close()
			for i, d := range []*device{browser, simple} {
				m := d.send(t, "withdrawn")
				d.send(t, "early")
				at.settled("stored", 2*i+2)
				m.withdraw(t, http.StatusNoContent)
				at.settled("withdrawn", i+1)
			}
			w = other(t, at)
			w.ask(obj{"messageType": "hello", "use_webpush": true, "uaid": uaid}, 200)
			w.pushed(channel, "early")
			w.nothing()
			s = other(t, at)
			s.ask(obj{"messageType": "hello", "uaid": suaid, "channelIDs": []string{channel}}, 200)
			u := s.hear("notification")["updates"].([]any)
			if data := u[0].(map[string]any)["data"]; len(u) != 1 || data != base64.RawURLEncoding.EncodeToString([]byte("early")) {
				t.Errorf("notification %v", u)
			}
			s.ackVersion(channel, u[0].(map[string]any)["version"].(float64))
			s.nothing()
		})
	}
}
