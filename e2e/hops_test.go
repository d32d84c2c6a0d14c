package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// upstreamModes are the ways a relay reaches its upstream, as config lines.
var upstreamModes = map[string]string{
	"websocket": "mode: websocket",
	"longpoll":  "mode: poll, interval: 0s, wait: 20s",
	"interval":  "mode: poll, interval: 50ms, wait: 0s",
}

// configure makes the relay's upstream a list in a config file, with more
// keys than the flags have.
func (n *node) configure(up *node, keys string) *node {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "relay.yaml")
	text := fmt.Sprintf("upstreams:\n  - {name: up, url: %q, relay: %s, token_file: %q, %s}\n", up.url, n.name, tokenFile(n.t, n.name), keys)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	kept := []string{n.args[0], "--config", file}
	for i := 1; i < len(n.args); i += 2 {
		switch n.args[i] {
		case "--upstream", "--name", "--token-file":
		default:
			kept = append(kept, n.args[i], n.args[i+1])
		}
	}
	n.args = kept
	return n
}

// chain starts a server and so many relays behind each other, and returns the
// server and the last node.
func chain(t *testing.T, hops int, keys string) (server, last *node) {
	name := func(i int) string { return fmt.Sprintf("hop%d", i) }
	next := func(i int) []string {
		if i < hops {
			return []string{name(i + 1)}
		}
		return nil
	}
	server = newServer(t, next(0)...).start()
	last = server
	for i := 1; i <= hops; i++ {
		last = newRelay(t, name(i), last, next(i)...).configure(last, keys).start()
	}
	return server, last
}

// TestHops is the one story at every distance: PUT → UPDATE → ACK behind 0 to
// 3 relays, over every transport upstream and towards the device, in both
// custody modes.
func TestHops(t *testing.T) {
	t.Run("hops=0", func(t *testing.T) {
		t.Parallel()
		_, last := chain(t, 0, "")
		stories(t, last, "device")
	})
	for hops := 1; hops <= 3; hops++ {
		for mode, keys := range upstreamModes {
			for _, custody := range []string{"device", "relay"} {
				t.Run(fmt.Sprintf("hops=%d/upstream=%s/custody=%s", hops, mode, custody), func(t *testing.T) {
					t.Parallel()
					_, last := chain(t, hops, keys+", custody: "+custody)
					stories(t, last, custody)
				})
			}
		}
	}
}

func stories(t *testing.T, at *node, custody string) {
	t.Run("device=websocket", func(t *testing.T) { storyWebSocket(t, at, custody) })
	t.Run("device=longpoll", func(t *testing.T) { storyPoll(t, at, custody, "20s") })
	t.Run("device=interval", func(t *testing.T) { storyPoll(t, at, custody, "0s") })
	t.Run("device=bodies", func(t *testing.T) { storyMessages(t, at) })
	t.Run("device=events", func(t *testing.T) { storyEvents(t, at) })
}

func accepted(t *testing.T, status int) {
	t.Helper()
	if status != http.StatusOK && status != http.StatusAccepted {
		t.Fatalf("PUT answered %d", status)
	}
}

func storyWebSocket(t *testing.T, at *node, custody string) {
	d := newDevice().register(t, at)
	w := d.hello(t, at)
	accepted(t, put(d.endpoint, 5))
	w.expectUpdate(t, d, 5)
	w.ack(t, d, 5)
	d.awaitState(t, 5, "delivered")

	if s := put(d.endpoint, 5); s != http.StatusOK {
		t.Errorf("PUT of a delivered version answered %d, want 200", s)
	}
	if s := put(d.endpoint, 3); s != http.StatusOK {
		t.Errorf("PUT below a delivered version answered %d, want 200", s)
	}
	w.conn.Close()

	// Absent: only the latest comes, once it is back.
	accepted(t, put(d.endpoint, 6))
	accepted(t, put(d.endpoint, 9))
	accepted(t, put(d.endpoint, 8))
	if custody == "device" {
		d.awaitState(t, 9, "pending")
	}
	for start := time.Now(); ; {
		w = d.hello(t, at)
		m := w.expect(t, "update")
		if v := m.Updates[d.uaid][d.appid]; v == 9 {
			break
		} else if v != 6 || time.Since(start) > patience {
			t.Fatalf("update %+v, want version 9", m.Updates) // 6 may still be on its way down
		}
		w.conn.Close()
	}
	w.ack(t, d, 9)
	w.barrier(t)
	d.awaitState(t, 9, "delivered")
	w.conn.Close()
	w = d.hello(t, at)
	w.silent(t, 100*time.Millisecond)
}

func storyPoll(t *testing.T, at *node, custody, wait string) {
	d := newDevice().register(t, at)
	if wait == "0s" {
		if u := d.poll(t, at, wait, nil); u != nil {
			t.Fatalf("poll before any PUT: %+v", u)
		}
	}
	for _, v := range []uint64{1, 2, 1 << 62} {
		accepted(t, put(d.endpoint, v))
		var got uint64
		for start := time.Now(); got != v; {
			got = d.poll(t, at, wait, nil)[d.uaid][d.appid]
			if time.Since(start) > patience {
				t.Fatalf("version %d did not come", v)
			}
		}
		// Not acknowledged: it comes again, and until then it is pending.
		if again := d.poll(t, at, wait, nil)[d.uaid][d.appid]; again != v {
			t.Fatalf("an unacknowledged version came again as %d, want %d", again, v)
		}
		if custody == "device" {
			d.awaitState(t, v, "pending")
		}
		a := post(t, at.url+"/v1/ack", obj{"agents": []obj{d.agent()}, "updates": d.versions(v)})
		if a.status != http.StatusNoContent {
			t.Fatalf("ack: %d %s", a.status, a.body)
		}
		d.awaitState(t, v, "delivered")
	}
	if u := d.poll(t, at, "0s", nil); u != nil {
		t.Fatalf("poll after everything was acknowledged: %+v", u)
	}
}
