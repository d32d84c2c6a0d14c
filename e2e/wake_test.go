package e2e

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWakeThroughRelay: a server has its device woken by the drivers of a relay
// that it cannot reach but over the relay's own connection.
func TestWakeThroughRelay(t *testing.T) {
	t.Parallel()
	for mode, keys := range upstreamModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := newServer(t, "near").with("kicks:\n  - {name: inside, driver: gateway, relay: near, grace: 0s, min_interval: 0s}\n").start()
			relay := newRelay(t, "near", server).configure(server, keys)
			relay.append("upstream_kicks: {drivers: [udp]}\nkicks:\n" + udpEntry("udp", "") + udpEntry("secret", "")).start()
			e := newEar(t)
			d := newDevice().register(t, server)
			kick := func(driver string) answer {
				return d.tell(t, server, obj{"driver": "inside", "route": e.kick(driver)})
			}
			wantStatus(t, "kick", kick("udp"), http.StatusNoContent)
			relay.awaitUpstream()
			accepted(t, put(d.endpoint, 1))
			e.hear()
			d.woken(t, server, 1)

			// A device that knows the relay is woken by the routes that it told there.
			near := newDevice().register(t, relay)
			wantStatus(t, "kick at the relay", near.tell(t, relay, e.kick("udp")), http.StatusNoContent)
			accepted(t, put(near.endpoint, 1))
			e.hear()
			near.woken(t, relay, 1)

			// What the relay's operator has not allowed is refused, for good.
			wantStatus(t, "kick", kick("secret"), http.StatusNoContent)
			accepted(t, put(d.endpoint, 2))
			server.awaitMetric(`edition_kickdrivers_kicks_total{driver="inside",outcome="refused"}`, 1)

			// Nobody waits for a relay that is not there.
			relay.kill()
			wantStatus(t, "kick", kick("udp"), http.StatusNoContent)
			accepted(t, put(d.endpoint, 3))
			if mode == "websocket" {
				server.awaitMetric(`edition_session_wakes_total{result="failed"}`, 1)
			}
		})
	}
}

// append adds keys to the node's configuration file.
func (n *node) append(yaml string) *node {
	n.t.Helper()
	file := n.args[slices.Index(n.args, "--config")+1]
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(yaml); err != nil {
		n.t.Fatal(err)
	}
	return n
}

// awaitUpstream waits until the relay is connected to its upstream.
func (n *node) awaitUpstream() {
	n.t.Helper()
	n.await("/readyz", "is not connected to its upstream", func(body string) bool { return strings.Contains(body, `"connected":true`) })
}

// awaitMetric waits until a series has at least a value.
func (n *node) awaitMetric(series string, least float64) {
	n.t.Helper()
	n.await("/metrics", "does not count "+series, func(body string) bool {
		for line := range strings.Lines(body) {
			if rest, ok := strings.CutPrefix(line, series+" "); ok {
				v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return err == nil && v >= least
			}
		}
		return false
	})
}

func (n *node) await(path, not string, ok func(body string) bool) {
	n.t.Helper()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		a, err := request("GET", n.admin+path, "", nil)
		if err == nil && ok(string(a.body)) {
			return
		}
		if time.Since(start) > patience {
			n.t.Fatalf("%s %s: %v %s", n.name, not, err, tail(string(a.body), 2000))
		}
	}
}
