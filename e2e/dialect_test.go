package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// talk is a device of another protocol than edition.v1, over a raw WebSocket.
type talk struct {
	t    *testing.T
	conn *websocket.Conn
}

// other opens a WebSocket as SimplePush clients and browsers do.
func other(t *testing.T, at *node) *talk {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"push-notification"}, HandshakeTimeout: patience}
	c, resp, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(at.url, "http")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	t.Cleanup(func() { c.Close() })
	return &talk{t, c}
}

func (w *talk) say(o obj) {
	w.t.Helper()
	if err := w.conn.WriteJSON(o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *talk) hear(kind string) obj {
	w.t.Helper()
	var o obj
	w.conn.SetReadDeadline(time.Now().Add(patience))
	if err := w.conn.ReadJSON(&o); err != nil {
		w.t.Fatalf("waiting for %s: %v", kind, err)
	}
	if o["messageType"] != kind {
		w.t.Fatalf("heard %v, want %s", o, kind)
	}
	return o
}

// ask says something and wants it answered so.
func (w *talk) ask(o obj, status float64) obj {
	w.t.Helper()
	w.say(o)
	answer := w.hear(o["messageType"].(string))
	if answer["status"] != status {
		w.t.Fatalf("%v was answered with %v", o, answer)
	}
	return answer
}

// nothing wants no notification up to now: a ping comes back first.
func (w *talk) nothing() {
	w.t.Helper()
	w.say(obj{})
	var o obj
	w.conn.SetReadDeadline(time.Now().Add(patience))
	if err := w.conn.ReadJSON(&o); err != nil || len(o) != 0 {
		w.t.Fatalf("heard %v, %v", o, err)
	}
}

// closed wants the connection closed with a code.
func (w *talk) closed(code int) {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(patience))
	_, b, err := w.conn.ReadMessage()
	if c := (*websocket.CloseError)(nil); !errors.As(err, &c) || c.Code != code {
		w.t.Fatalf("heard %q, %v, want close %d", b, err, code)
	}
}

// version hears a SimplePush notification of one version, and returns its data.
// Lower ones may come before it: they were on their way. They are acknowledged,
// since the next comes after the ack.
func (w *talk) version(channel string, v float64) any {
	w.t.Helper()
	for {
		u := w.hear("notification")["updates"].([]any)
		one := u[0].(map[string]any)
		if len(u) != 1 || one["channelID"] != channel || one["version"].(float64) > v {
			w.t.Fatalf("notification %v, want version %v", u, v)
		}
		if one["version"] == v {
			return one["data"]
		}
		w.ackVersion(channel, one["version"].(float64))
	}
}

func (w *talk) ackVersion(channel string, v float64) {
	w.t.Helper()
	w.say(obj{"messageType": "ack", "updates": []obj{{"channelID": channel, "version": v}}})
}

// hasty is a node that takes pings at any time, and ends at once.
func hasty(n *node) *node {
	n.env = append(n.env, "EDITION_DIALECTS_PING_MIN=0s", "EDITION_DRAIN=100ms")
	return n
}

// dialects starts a chain whose last node has settings, given as variables.
func dialects(t *testing.T, hops int, keys string, env ...string) *node {
	t.Helper()
	if hops == 0 {
		s := hasty(newServer(t))
		s.env = append(s.env, env...)
		return s.start().connected()
	}
	up, last := chain(t, hops-1, keys)
	if hops > 1 {
		up = last
	}
	// A relay of its own at the end, which the last of the chain must know.
	return up.below(t, keys, env...)
}

// below restarts a node so that it knows one more relay, and starts that.
func (n *node) below(t *testing.T, keys string, env ...string) *node {
	t.Helper()
	n.kill()
	n.args = append(n.args, "--relay", "edge="+tokenFile(t, "edge"))
	n.start()
	edge := hasty(newRelay(t, "edge", n)).configure(n, keys)
	edge.env = append(edge.env, env...)
	return edge.start().connected()
}

// connected waits until a node takes registrations.
func (n *node) connected() *node {
	n.t.Helper()
	newDevice().register(n.t, n)
	return n
}

// TestDialects is the one story of each dialect at each distance, behind one
// relay over each transport upstream and in both custody modes.
func TestDialects(t *testing.T) {
	t.Run("hops=0", func(t *testing.T) {
		t.Parallel()
		at := dialects(t, 0, "", "EDITION_DIALECTS_VERSIONS=last")
		storySimplePush(t, at, "device")
		storyMozilla(t, at)
	})
	for hops := 1; hops <= 2; hops++ {
		for mode, keys := range upstreamModes {
			if hops == 2 && mode != "websocket" {
				continue
			}
			custody := "device"
			if mode == "longpoll" {
				custody = "relay"
			}
			t.Run(fmt.Sprintf("hops=%d/upstream=%s/custody=%s", hops, mode, custody), func(t *testing.T) {
				t.Parallel()
				at := dialects(t, hops, keys+", custody: "+custody, "EDITION_DIALECTS_VERSIONS=last")
				storySimplePush(t, at, custody)
				storyMozilla(t, at)
			})
		}
	}
}

func storySimplePush(t *testing.T, at *node, custody string) {
	t.Helper()
	channel := uuid()
	w := other(t, at)
	uaid := w.ask(obj{"messageType": "hello", "uaid": "", "channelIDs": []string{}}, 200)["uaid"].(string)
	d := &device{endpoint: w.ask(obj{"messageType": "register", "channelID": channel}, 200)["pushEndpoint"].(string)}
	accepted(t, put(d.endpoint, 9))
	w.version(channel, 9)
	w.ackVersion(channel, 9)
	d.awaitState(t, 9, "delivered")

	// versions: last. A lower one, once the greater one was acknowledged.
	accepted(t, put(d.endpoint, 3))
	w.version(channel, 3)
	w.ackVersion(channel, 3)
	d.awaitState(t, 3, "delivered")

	// Away, with data; and a kick takes the place of the connection.
	e := newEar(t)
	w.ask(obj{
		"messageType": "hello", "uaid": uaid, "channelIDs": []string{channel},
		"wakeup_hostport": obj{"ip": "127.0.0.1", "port": e.port()}, "mobilenetwork": obj{"mcc": "214", "mnc": "07"},
	}, 200)
	w.conn.Close()
	a, err := request("PUT", d.endpoint, "application/x-www-form-urlencoded", []byte("version=20&data=gr%C3%BC%C3%9Fe"))
	if err != nil {
		t.Fatal(err)
	}
	accepted(t, a.status)
	e.hear()
	if custody == "device" {
		d.awaitState(t, 20, "pending")
	}
	w = other(t, at)
	if got := w.ask(obj{"messageType": "hello", "uaid": uaid, "channelIDs": []string{channel}}, 200)["uaid"]; got != uaid {
		t.Fatalf("uaid %v, want %v", got, uaid)
	}
	if data := w.version(channel, 20); data != "grüße" {
		t.Errorf("data %v", data)
	}

	// The same device elsewhere.
	old := w
	w = other(t, at)
	w.ask(obj{"messageType": "hello", "uaid": uaid, "channelIDs": []string{channel}}, 200)
	old.closed(4409)
	w.version(channel, 20)
	w.ackVersion(channel, 20)
	d.awaitState(t, 20, "delivered")
	w.nothing()

	w.ask(obj{"messageType": "unregister", "channelID": channel}, 200)
	if s := put(d.endpoint, 30); s != http.StatusGone {
		t.Errorf("PUT after unregister answered %d", s)
	}
	w.say(obj{"messageType": "hello", "uaid": uuid(), "channelIDs": []string{}})
	if m := w.hear("hello"); m["status"] != 503.0 || m["error"] != "Service Unavailable" {
		t.Errorf("a second uaid was answered with %v", m)
	}
	w.closed(websocket.CloseTryAgainLater)
}

// message POSTs what stands for an encrypted message.
func postMessage(t *testing.T, endpoint, topic, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("TTL", "600")
	req.Header.Set("Content-Encoding", "aes128gcm")
	if topic != "" {
		req.Header.Set("Topic", topic)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST answered %s", resp.Status)
	}
}

// pushed hears a browser's notification, and acknowledges it.
func (w *talk) pushed(channel, text string) {
	w.t.Helper()
	m := w.hear("notification")
	headers, _ := m["headers"].(map[string]any)
	data, _ := m["data"].(string)
	got, err := base64.RawURLEncoding.DecodeString(data)
	if m["channelID"] != channel || err != nil || string(got) != text || (text != "") != (headers["encoding"] == "aes128gcm") {
		w.t.Fatalf("heard %v, want %q", m, text)
	}
	w.say(obj{"messageType": "ack", "updates": []obj{{"channelID": channel, "version": m["version"], "code": 100}}})
}

func storyMozilla(t *testing.T, at *node) {
	t.Helper()
	channel := uuid()
	w := other(t, at)
	hello := w.ask(obj{"messageType": "hello", "use_webpush": true, "broadcasts": obj{}}, 200)
	uaid, ok := hello["uaid"].(string)
	if !ok || hello["use_webpush"] != true || hello["broadcasts"] == nil {
		t.Fatalf("hello %v", hello)
	}
	endpoint := w.ask(obj{"messageType": "register", "channelID": channel}, 200)["pushEndpoint"].(string)
	postMessage(t, endpoint, "", "one")
	w.pushed(channel, "one")
	accepted(t, put(endpoint, 5))
	w.pushed(channel, "")
	w.nothing()
	w.conn.Close()

	// Away: in the order in which they came, of a topic the last.
	for _, text := range []string{"two", "three"} {
		postMessage(t, endpoint, "", text)
	}
	postMessage(t, endpoint, "news", "old")
	postMessage(t, endpoint, "news", "new")
	w = other(t, at)
	if got := w.ask(obj{"messageType": "hello", "use_webpush": true, "uaid": uaid}, 200)["uaid"]; got != uaid {
		t.Fatalf("uaid %v, want %v", got, uaid)
	}
	seen := make(map[string]bool)
	for start := time.Now(); !seen["new"] || !seen["three"]; {
		m := w.hear("notification")
		text, err := base64.RawURLEncoding.DecodeString(fmt.Sprint(m["data"]))
		if err != nil || time.Since(start) > patience {
			t.Fatalf("heard %v", m)
		}
		if string(text) == "three" && !seen["two"] {
			t.Error("three came before two")
		}
		seen[string(text)] = true
		w.say(obj{"messageType": "ack", "updates": []obj{{"channelID": channel, "version": m["version"], "code": 100}}})
	}
	w.nothing()

	// The node ends and comes back: the device is known still.
	if at.stop() != nil {
		t.Fatal("the node did not end well")
	}
	at.start()
	w = other(t, at)
	if got := w.ask(obj{"messageType": "hello", "use_webpush": true, "uaid": uaid}, 200)["uaid"]; got != uaid {
		t.Fatalf("after a restart uaid %v, want %v", got, uaid)
	}
	postMessage(t, endpoint, "", "four")
	w.pushed(channel, "four")
	w.ask(obj{"messageType": "unregister", "channelID": channel, "code": 200}, 200)
	if s := put(endpoint, 30); s != http.StatusGone {
		t.Errorf("PUT after unregister answered %d", s)
	}
}

// TestDialectRoams: a browser that registered behind a relay shows up at the
// server, and behind another relay, with the same UAID and nothing lost. What a
// relay kept for it while it was elsewhere comes again, under the same version,
// by which a browser knows it.
func TestDialectRoams(t *testing.T) {
	t.Parallel()
	server := hasty(newServer(t, "east", "west")).start()
	east := hasty(newRelay(t, "east", server)).start().connected()
	west := hasty(newRelay(t, "west", server)).start().connected()
	channel := uuid()
	w := other(t, east)
	uaid := w.ask(obj{"messageType": "hello", "use_webpush": true}, 200)["uaid"]
	endpoint := w.ask(obj{"messageType": "register", "channelID": channel}, 200)["pushEndpoint"].(string)
	seen := make(map[string]any)
	for i, at := range []*node{east, west, server, east} {
		w.conn.Close()
		text := fmt.Sprint("message ", i)
		postMessage(t, endpoint, "", text)
		w = other(t, at)
		if got := w.ask(obj{"messageType": "hello", "use_webpush": true, "uaid": uaid}, 200)["uaid"]; got != uaid {
			t.Fatalf("at %s: uaid %v, want %v", at.name, got, uaid)
		}
		for m := w.hear("notification"); ; m = w.hear("notification") {
			w.say(obj{"messageType": "ack", "updates": []obj{{"channelID": channel, "version": m["version"], "code": 100}}})
			got, err := base64.RawURLEncoding.DecodeString(fmt.Sprint(m["data"]))
			if known, ok := seen[string(got)]; err != nil || ok && known != m["version"] {
				t.Fatalf("heard %v, which was %v before", m, known)
			}
			seen[string(got)] = m["version"]
			if string(got) == text {
				break
			}
		}
	}
}

// TestDialectUpstreamAway: a relay that cannot ask upstream tells no browser to
// forget its subscriptions, and takes those that it knows.
func TestDialectUpstreamAway(t *testing.T) {
	t.Parallel()
	server := newServer(t, "east").start()
	east := hasty(newRelay(t, "east", server)).start().connected()
	w := other(t, east)
	uaid := w.ask(obj{"messageType": "hello", "use_webpush": true}, 200)["uaid"]
	channel := uuid()
	w.ask(obj{"messageType": "register", "channelID": channel}, 200)
	w.conn.Close()
	server.kill()

	w = other(t, east)
	if got := w.ask(obj{"messageType": "hello", "use_webpush": true, "uaid": uaid}, 200)["uaid"]; got != uaid {
		t.Errorf("uaid %v, want %v", got, uaid)
	}
	stranger := other(t, east)
	stranger.say(obj{"messageType": "hello", "use_webpush": true, "uaid": strings.ReplaceAll(uuid(), "-", "")})
	stranger.closed(websocket.CloseTryAgainLater)
	w.ask(obj{"messageType": "register", "channelID": uuid()}, 503)
	server.start()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		w.say(obj{"messageType": "register", "channelID": channel})
		if m := w.hear("register"); m["status"] == 200.0 {
			break
		} else if time.Since(start) > patience {
			t.Fatalf("register is answered with %v", m)
		}
	}
}
