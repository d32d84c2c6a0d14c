package client

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// TestEcho has the answer to a hello bring events that a relay has acked since
// it asked: they are not handed out again, others are, and all are when they
// come with an answer to what was asked later.
func TestEcho(t *testing.T) {
	for _, custody := range []string{wire.CustodyDevice, wire.CustodyRelay} {
		t.Run(custody, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testEcho(t, custody) })
		})
	}
}

func testEcho(t *testing.T, custody string) {
	ctx, cancel := context.WithCancel(t.Context())
	polls, hellos := make(chan wire.UpdateResponse), make(chan wire.UpdateResponse)
	var first atomic.Int32 // the first poll is not held either
	up := &upstream{api: map[string]func(http.ResponseWriter, []byte) any{
		wire.PathUpdate: func(_ http.ResponseWriter, body []byte) any {
			answers := polls
			if first.Add(1) > 1 && decode[wire.UpdateRequest](t, body).Wait == "" {
				answers = hellos
			}
			select {
			case a := <-answers:
				return a
			case <-ctx.Done():
				return nil
			}
		},
		wire.PathAck: func(http.ResponseWriter, []byte) any { return nil },
	}}
	var got edition.Update
	var c *Client
	c = newClient(t, Config{
		URL: "http://x.test", Proxy: ProxyDirect, Dial: up.pipe(ctx, t), Mode: ModePoll, Wait: time.Minute, Relay: "r", Custody: custody,
		Update: func(u edition.Update, _ []*edition.Body, done func()) {
			got = append(got, u...)
			if err := c.AckStored(u); err != nil {
				t.Error(err)
			}
			if u[0].AppID == event(1, 1, 1).AppID { // its device is there
				if err := c.Ack(u[:1]); err != nil {
					t.Error(err)
				}
			}
			done()
		},
	})
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	polls <- wire.UpdateResponse{}
	synctest.Wait()
	expect := func(what string, want ...edition.Event) {
		t.Helper()
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("%s: handed out %v, want %v", what, got, want)
		}
		got = nil
	}
	greet := func() (answered chan error) {
		answered = make(chan error, 1)
		go func() {
			_, _, err := c.Hello(ctx, []wire.Agent{{UAID: testUAID(1)}})
			answered <- err
		}()
		synctest.Wait()
		return answered
	}

	delivered, stored, other := event(1, 1, 5), event(1, 2, 6), event(1, 3, 7)
	answered := greet()
	polls <- wire.UpdateResponse{Updates: wire.Updates{delivered, stored}}
	expect("a poll", delivered, stored)
	hellos <- wire.UpdateResponse{Updates: wire.Updates{delivered, stored, other}}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if custody == wire.CustodyRelay {
		expect("asked before the acks", other)
	} else {
		expect("asked before the ack", stored, other) // stored is here still
	}

	answered = greet()
	hellos <- wire.UpdateResponse{Updates: wire.Updates{delivered, stored}}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	expect("asked after the acks", delivered, stored)

	answered = greet()
	next := event(1, 1, 8)
	polls <- wire.UpdateResponse{Updates: wire.Updates{delivered}}
	expect("a poll that was out all the time")
	polls <- wire.UpdateResponse{Updates: wire.Updates{next}}
	expect("the poll after it", next)
	newer := event(1, 1, 9)
	hellos <- wire.UpdateResponse{Updates: wire.Updates{newer}}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	expect("a greater version than was acked", newer)
	polls <- wire.UpdateResponse{}
	synctest.Wait()

	c.mu.Lock()
	p := c.link.(*poll)
	c.mu.Unlock()
	p.mu.Lock()
	if n := len(p.echoes.acked); n > 0 || len(p.echoes.out) > 0 {
		t.Errorf("%d acks are kept, and %d polls are out, in a pause", n, len(p.echoes.out))
	}
	p.mu.Unlock()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
