package e2e

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// TestAckRaces are the races of promise 3 at the server's door.
func TestAckRaces(t *testing.T) {
	t.Parallel()
	server := newServer(t).start()

	t.Run("the ack of the first after the second PUT", func(t *testing.T) {
		d := newDevice().register(t, server)
		accepted(t, put(d.endpoint, 1))
		w := d.hello(t, server)
		w.expectUpdate(t, d, 1)
		accepted(t, put(d.endpoint, 2))
		w.ack(t, d, 1)
		w.expectUpdate(t, d, 2)
		w.ack(t, d, 2)
		d.awaitState(t, 2, "delivered")
	})
	t.Run("an ack above what was sent clears nothing", func(t *testing.T) {
		d := newDevice().register(t, server)
		accepted(t, put(d.endpoint, 5))
		w := d.hello(t, server)
		w.expectUpdate(t, d, 5)
		w.ack(t, d, 9)
		w.barrier(t)
		if v, s := d.state(t); v != 5 || s != "pending" {
			t.Errorf("state %d %s, want 5 pending", v, s)
		}
		w.conn.Close()
		w = d.hello(t, server)
		w.expectUpdate(t, d, 5)
	})
	t.Run("an ack for a foreign UAID clears nothing", func(t *testing.T) {
		d, thief := newDevice().register(t, server), newDevice().register(t, server)
		accepted(t, put(d.endpoint, 5))
		if d.poll(t, server, "0s", nil)[d.uaid][d.appid] != 5 {
			t.Fatal("no update")
		}
		w := thief.hello(t, server)
		w.ack(t, d, 5)
		w.barrier(t)
		if v, s := d.state(t); v != 5 || s != "pending" {
			t.Errorf("state %d %s, want 5 pending", v, s)
		}
	})
	t.Run("an ack again, late, and over the other transport", func(t *testing.T) {
		d := newDevice().register(t, server)
		accepted(t, put(d.endpoint, 1))
		w := d.hello(t, server)
		w.expectUpdate(t, d, 1)
		w.conn.Close()
		for range 2 {
			a := post(t, server.url+"/v1/ack", obj{"agents": []obj{d.agent()}, "updates": d.versions(1)})
			if a.status != http.StatusNoContent {
				t.Fatalf("ack: %d %s", a.status, a.body)
			}
		}
		d.awaitState(t, 1, "delivered")
		accepted(t, put(d.endpoint, 2))
		w = d.hello(t, server)
		w.expectUpdate(t, d, 2)
		w.ack(t, d, 1)
		w.ack(t, d, 1)
		w.barrier(t)
		if v, s := d.state(t); v != 2 || s != "pending" {
			t.Errorf("state %d %s, want 2 pending", v, s)
		}
	})
	t.Run("acks by id and bare", func(t *testing.T) {
		d := newDevice().register(t, server)
		w := d.hello(t, server)
		for v, ack := range []func(id uint64) obj{
			func(id uint64) obj { return obj{"type": "ack", "id": id} },
			func(id uint64) obj { return obj{"type": "ack", "id": id, "uaids": []string{d.uaid}} },
			func(id uint64) obj { return obj{"type": "ack", "uaids": []string{d.uaid}} },
		} {
			go put(d.endpoint, uint64(v+1))
			id := w.expectUpdate(t, d, uint64(v+1))
			if err := w.send(ack(id)); err != nil {
				t.Fatal(err)
			}
			d.awaitState(t, uint64(v+1), "delivered")
		}
	})
	t.Run("a bare ack clears only what its UPDATE carried", func(t *testing.T) {
		d := newDevice().register(t, server)
		accepted(t, put(d.endpoint, 1))
		w := d.hello(t, server)
		w.expectUpdate(t, d, 1)
		accepted(t, put(d.endpoint, 2))
		w.send(obj{"type": "ack", "uaids": []string{d.uaid}})
		w.expectUpdate(t, d, 2)
	})
	t.Run("the newest connection wins", func(t *testing.T) {
		d := newDevice().register(t, server)
		old := d.hello(t, server)
		fresh := d.hello(t, server)
		_, err := old.read(patience)
		if c := (*websocket.CloseError)(nil); !errors.As(err, &c) || c.Code != 4409 {
			t.Errorf("the older connection ended with %v, want close 4409", err)
		}
		go put(d.endpoint, 1)
		fresh.expectUpdate(t, d, 1)
	})
}

// TestDrain: SIGTERM closes sessions with 1012 and a time to come back, keeps
// what is pending, and ends with 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	server := newServer(t).start()
	d := newDevice().register(t, server)
	w := d.hello(t, server)
	accepted(t, put(newDevice().register(t, server).endpoint, 1))
	ended := make(chan error, 1)
	go func() { ended <- server.stop() }()
	_, err := w.read(patience)
	if c := (*websocket.CloseError)(nil); !errors.As(err, &c) || c.Code != 1012 || !strings.ContainsAny(c.Text, "0123456789") {
		t.Errorf("drain ended the session with %v, want close 1012 with a time", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after SIGTERM the server ended with %v", err)
	}
}
