package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// with adds keys from a configuration file.
func (n *node) with(yaml string) *node {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "kicks.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.args = append(n.args, "--config", file)
	return n
}

// udpEntry is an entry of the kicks that reaches this machine without delay.
func udpEntry(name, keys string) string {
	return fmt.Sprintf("  - {name: %s, driver: udp, grace: 0s, min_interval: 0s, %s networks: [{name: here, cidrs: [127.0.0.0/8]}]}\n", name, keys)
}

// program writes a program for the driver exec that ends with a code, and
// returns its entry.
func program(t *testing.T, name string, code int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, fmt.Appendf(nil, "#!/bin/sh\nread -r kick\nexit %d\n", code), 0o700); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("  - {name: %s, driver: exec, grace: 0s, min_interval: 0s, program: %q}\n", name, file)
}

// ear is where a sleeping device hears datagrams.
type ear struct {
	t    *testing.T
	conn *net.UDPConn
}

func newEar(t *testing.T) *ear {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &ear{t, conn}
}

func (e *ear) port() int { return e.conn.LocalAddr().(*net.UDPAddr).Port }

// kick is the object that a device registers for this ear.
func (e *ear) kick(driver string) obj {
	return obj{"driver": driver, "ip": "127.0.0.1", "port": e.port()}
}

// hear waits for a datagram.
func (e *ear) hear() string {
	e.t.Helper()
	var b [512]byte
	e.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := e.conn.Read(b[:])
	if err != nil {
		e.t.Fatal("nobody wakes the device:", err)
	}
	return string(b[:n])
}

// quiet fails the test when a datagram comes within the time.
func (e *ear) quiet(d time.Duration) {
	e.t.Helper()
	var b [512]byte
	e.conn.SetReadDeadline(time.Now().Add(d))
	if n, err := e.conn.Read(b[:]); err == nil {
		e.t.Fatalf("unexpected datagram %q", b[:n])
	}
}

// tell registers a kick and returns the answer.
func (d *device) tell(t *testing.T, at *node, kick any) answer {
	t.Helper()
	return post(t, at.url+"/v1/kick", obj{"uaid": d.uaid, "secret": d.secret, "kick": kick})
}

func wantStatus(t *testing.T, what string, a answer, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: %d %s, want %d", what, a.status, a.body, status)
	}
}

// woken has a device that was woken take a version. What woke it may have been
// an earlier kick, repeated.
func (d *device) woken(t *testing.T, at *node, version uint64) {
	t.Helper()
	waitStored(t, at, d, version)
	a := post(t, at.url+"/v1/ack", obj{"agents": []obj{d.agent()}, "updates": d.versions(version)})
	wantStatus(t, "ack", a, http.StatusNoContent)
	d.awaitState(t, version, "delivered")
}

// TestRoutesInOrder: the first route fails, the second wakes; one that is gone
// is told at the next hello and poll, until the device registers anew.
func TestRoutesInOrder(t *testing.T) {
	t.Parallel()
	server := newServer(t).with("kicks:\n" + program(t, "broken", 1) + program(t, "dead", 67) + udpEntry("udp", "")).start()
	e := newEar(t)
	d := newDevice().register(t, server)
	first := obj{"driver": "broken", "to": "x"}
	gone := obj{"driver": "dead", "to": "x"}
	wantStatus(t, "a list", d.tell(t, server, []obj{first, gone, e.kick("udp")}), http.StatusNoContent)
	accepted(t, put(d.endpoint, 1))
	if got, want := e.hear(), fmt.Sprintf("NOTIFY 127.0.0.1:%d", e.port()); got != want {
		t.Errorf("datagram %q, want %q", got, want)
	}
	server.awaitMetric(`edition_kickdrivers_kicks_total{driver="udp",outcome="sent"}`, 1) // the device is not that fast
	// On one connection: between a poll and its ack the device would have left,
	// and be kicked again.
	w := d.hello(t, server)
	w.expectUpdate(t, d, 1)
	w.ack(t, d, 1)
	d.awaitState(t, 1, "delivered")
	w.conn.Close()
	// The loop is closed: kick, connect, ack.
	server.awaitMetric(`edition_kickdrivers_kicks_total{driver="udp",outcome="answered"}`, 1)
	server.awaitMetric(`edition_kickdrivers_connect_seconds_count{driver="udp"}`, 1)
	server.awaitMetric(`edition_kickdrivers_ack_seconds_count{driver="udp"}`, 1)
	server.awaitMetric(`edition_kickdrivers_kicks_total{driver="broken",outcome="failed"}`, 1)
	server.awaitMetric(`edition_kickdrivers_kicks_total{driver="dead",outcome="gone"}`, 1)

	told := func() string {
		t.Helper()
		w := mustDial(t, server)
		defer w.conn.Close()
		if err := w.send(obj{"type": "hello", "agents": []obj{d.agent()}}); err != nil {
			t.Fatal(err)
		}
		w.conn.SetReadDeadline(time.Now().Add(patience))
		_, b, err := w.conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		a := post(t, server.url+"/v1/update", obj{"agents": []obj{d.agent()}})
		const field = `"gone":[{"uaid":"`
		if strings.Contains(string(b), field) != strings.Contains(string(a.body), field) {
			t.Errorf("hello %s, poll %s", b, a.body)
		}
		return string(b)
	}
	want := `"gone":[{"uaid":"` + d.uaid + `","drivers":["dead"]}]`
	for range 2 {
		if got := told(); !strings.Contains(got, want) {
			t.Errorf("hello answered %s, want %s", got, want)
		}
	}
	wantStatus(t, "another list", d.tell(t, server, []obj{first, e.kick("udp")}), http.StatusNoContent)
	if got := told(); strings.Contains(got, "gone") {
		t.Errorf("hello answered %s", got)
	}
	accepted(t, put(d.endpoint, 2))
	e.hear()
	d.woken(t, server, 2)
	wantStatus(t, "a list with a driver that is not there", d.tell(t, server, []obj{e.kick("udp"), {"driver": "pigeon"}}), http.StatusForbidden)
	wantStatus(t, "five routes", d.tell(t, server, []obj{first, first, first, first, first}), http.StatusBadRequest)
}

// TestConfirm: a route that has to be confirmed is used only after the device
// has repeated the code that was sent there.
func TestConfirm(t *testing.T) {
	t.Parallel()
	server := newServer(t).with("kicks:\n" + udpEntry("udp", "confirm: true,")).start()
	e := newEar(t)
	d := newDevice().register(t, server)
	a := d.tell(t, server, e.kick("udp"))
	wantStatus(t, "kick", a, http.StatusOK)
	if got := strings.TrimSpace(string(a.body)); got != `{"confirming":["udp"]}` {
		t.Errorf("kick answered %s", got)
	}
	text := e.hear()
	at := strings.LastIndexByte(text, ' ')
	if !strings.HasPrefix(text, "NOTIFY 127.0.0.1:") || len(text)-at != 9 {
		t.Fatalf("no code in %q", text)
	}
	code := text[at+1:]
	confirm := func(code string) answer {
		return post(t, server.url+"/v1/kick", obj{"uaid": d.uaid, "secret": d.secret, "confirm": code})
	}
	accepted(t, put(d.endpoint, 1))
	e.quiet(500 * time.Millisecond)
	wantStatus(t, "a wrong code", confirm("AAAAAAAA"), http.StatusForbidden)
	stranger := newDevice()
	wantStatus(t, "another's code", post(t, server.url+"/v1/kick", obj{"uaid": d.uaid, "secret": stranger.secret, "confirm": code}), http.StatusUnauthorized)
	wantStatus(t, "the code", confirm(code), http.StatusNoContent)
	wantStatus(t, "the code again", confirm(code), http.StatusForbidden)
	d.woken(t, server, 1) // what came before the route could be used
	accepted(t, put(d.endpoint, 2))
	if text := e.hear(); strings.Contains(text, code) {
		t.Errorf("a kick still carries the code: %q", text)
	}
	d.woken(t, server, 2)
	// Told again, it stays confirmed; another target does not.
	wantStatus(t, "the same kick", d.tell(t, server, e.kick("udp")), http.StatusNoContent)
	wantStatus(t, "another kick", d.tell(t, server, newEar(t).kick("udp")), http.StatusOK)
}

// TestIdleClose: a device that can be woken is closed when it is idle, and is
// woken; one that cannot stays.
func TestIdleClose(t *testing.T) {
	t.Parallel()
	server := newServer(t).with("session: {idle_close: 1s}\nkicks:\n" + udpEntry("udp", "")).start()
	e := newEar(t)
	d, stays := newDevice().register(t, server), newDevice().register(t, server)
	wantStatus(t, "kick", d.tell(t, server, e.kick("udp")), http.StatusNoContent)
	w, other := d.hello(t, server), stays.hello(t, server)
	_, err := w.read(patience)
	if c := (*websocket.CloseError)(nil); !errors.As(err, &c) || c.Code != 4774 || c.Text != "server will wake you" {
		t.Errorf("an idle device's connection ended with %v, want close 4774", err)
	}
	accepted(t, put(d.endpoint, 3))
	e.hear()
	w = d.hello(t, server)
	w.expectUpdate(t, d, 3)
	w.ack(t, d, 3)
	d.awaitState(t, 3, "delivered")
	other.barrier(t)
}
