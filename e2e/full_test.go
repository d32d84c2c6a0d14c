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
	version, refused := uint64(0), 0
	for start := time.Now(); refused == 0; {
		version++
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
		if time.Since(start) > time.Minute {
			t.Fatalf("after %d versions for each device the disk is not full", version)
		}
	}
	if s := put(devices[0].endpoint, version+1); s != http.StatusServiceUnavailable {
		t.Errorf("PUT to a full disk: %d", s)
	}
	e := newDevice()
	r := post(t, server.url+"/v1/register", obj{"uaid": e.uaid, "secret": e.secret, "appid": e.appid})
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("register at a full disk: %d %s", r.status, r.body)
	}
	if r, err := request("GET", server.admin+"/readyz", "", nil); err != nil || r.status != http.StatusServiceUnavailable {
		t.Errorf("readyz with a full disk: %v %d", err, r.status)
	}
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
