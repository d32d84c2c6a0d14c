package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestDiskFull fills the data file up to a limit: PUTs and registrations get
// 503, devices go on getting what is there, and nothing that was kept is lost,
// not even when the process is killed then; with room again it recovers.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.limit = 17_000 // bbolt's file grows by 16 MiB
	server.start()
	devices := make([]*device, 300)
	for i := range devices {
		devices[i] = newDevice().register(t, server)
	}
	kept := make(map[*device]uint64)
	version := uint64(0)
	// fill sends versions until some are refused.
	fill := func() {
		t.Helper()
		start := time.Now()
		for refused := 0; refused == 0; {
			version++
			refused = sendToAll(t, server, devices, version, kept)
			if time.Since(start) > 3*patience {
				t.Fatalf("after %d versions for each device the disk is not full", version)
			}
		}
	}
	// full wants something refused. Where a little room was found again since the
	// disk was full, that is filled as well.
	full := func(what string, refused func() bool) {
		t.Helper()
		fill()
		for start := time.Now(); !refused(); fill() {
			if time.Since(start) > patience {
				t.Fatalf("with a full disk: %s", what)
			}
		}
	}
	full("a PUT is kept", func() bool {
		version++
		status := put(devices[0].endpoint, version)
		if status == http.StatusAccepted {
			kept[devices[0]] = version
		}
		return status == http.StatusServiceUnavailable
	})
	full("a device is registered", func() bool {
		e := newDevice()
		r := post(t, server.url+"/v1/register", obj{"uaid": e.uaid, "secret": e.secret, "appid": e.appid})
		return r.status == http.StatusServiceUnavailable && r.header.Get("Retry-After") != ""
	})
	full("readyz says nothing", func() bool {
		r, err := request("GET", server.admin+"/readyz", "", nil)
		return err == nil && r.status == http.StatusServiceUnavailable
	})
	d := devices[0]
	w := d.hello(t, server)
	if got := w.expect(t, "update").Updates[d.uaid][d.appid]; got < kept[d] {
		t.Errorf("a device got version %d, %d was kept", got, kept[d])
	}
	w.conn.Close()

	server.kill()
	server.limit = 0
	server.start()
	for d, v := range kept {
		if got, state := d.state(t); got < v || state != "pending" {
			t.Errorf("version %d %s after the crash, %d was kept", got, state, v)
		}
	}
	accepted(t, put(d.endpoint, version+2))
}

// sendToAll sends a version to each device, notes in kept what was kept, and
// returns how many were refused.
func sendToAll(t *testing.T, server *node, devices []*device, version uint64, kept map[*device]uint64) (refused int) {
	t.Helper()
	var lines bytes.Buffer
	for _, d := range devices {
		fmt.Fprintf(&lines, "{\"endpoint\":%q,\"version\":%d}\n", d.endpoint, version)
	}
	a, err := request("POST", server.url+"/v1/events", "application/x-ndjson", lines.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(bytes.NewReader(a.body))
	for _, d := range devices {
		var line struct{ Status int }
		if err := answers.Decode(&line); err != nil {
			t.Fatal(err)
		}
		switch line.Status {
		case http.StatusAccepted:
			kept[d] = version
		case http.StatusServiceUnavailable:
			refused++
		default:
			t.Fatalf("a line was answered %d", line.Status)
		}
	}
	return refused
}
