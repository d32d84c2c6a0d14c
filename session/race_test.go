package session

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// long is true for the long variants of the tests.
var long = os.Getenv("EDITION_LONG") != ""

// A session attaches while an event is being delivered: one of the two sees
// the other.
func TestAttachWhileDelivering(t *testing.T) {
	d := open(t, nil)
	rounds := 150
	if long {
		rounds = 5000
	}
	for range rounds {
		v := d.registered(edition.Direct)
		c := d.connect()
		var wg sync.WaitGroup
		wg.Go(func() { d.hub.Deliver(edition.Update{event(v, 1)}, edition.Delivery{}) })
		c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}})
		c.hear(wire.TypeHello)
		c.update(v.Key, 1)
		wg.Wait()
		c.ws.Close()
	}
}

// The same while one connection replaces another, and both acknowledge.
func TestReplacedWhileDelivering(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	const last = 2000
	var seen greatest
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range edition.Version(last + 1) {
			d.hub.Deliver(edition.Update{event(v, n)}, edition.Delivery{})
			if n%50 == 0 {
				runtime.Gosched()
			}
		}
	})
	deadline := time.Now().Add(patient)
	for seen.load() < last {
		if time.Now().After(deadline) {
			t.Fatal("the last version did not arrive")
		}
		c := d.connect()
		c.say(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}})
		wg.Go(func() {
			for m := range c.in {
				if m.Type == wire.TypeUpdate {
					seen.note(m.Updates[0].Version)
					c.ws.WriteMessage(websocket.TextMessage, wire.AppendAck(nil, false, edition.Update(m.Updates))) // may be replaced
				}
			}
		})
		time.Sleep(time.Millisecond)
	}
	d.stop() // ends the readers
	wg.Wait()
}

// greatest is the greatest version that any of several goroutines has seen.
type greatest struct{ v atomic.Uint64 }

func (g *greatest) note(v edition.Version) {
	for {
		old := g.v.Load()
		if uint64(v) <= old || g.v.CompareAndSwap(old, uint64(v)) {
			return
		}
	}
}

func (g *greatest) load() edition.Version { return edition.Version(g.v.Load()) }

// Many of everything at once: nothing that was kept is lost, nothing is sent
// that was acknowledged, and no UAID has two UPDATEs in flight.
func TestEverythingAtOnce(t *testing.T) {
	d := open(t, func(o *Options) { o.Limits.AckTimeout = 200 * time.Millisecond })
	n := d.relay("r1")
	const devices, apps = 24, 3
	rounds := edition.Version(60)
	if long {
		rounds = 2000
	}
	type target struct {
		device
		last greatest // that was acknowledged
	}
	var targets []*target
	byKey := map[edition.Key]*target{}
	var all []device
	for i := range devices {
		owner := edition.Direct
		if i%3 == 0 {
			owner = n
		}
		v := newDevice()
		for range apps {
			v.AppID = edition.NewAppID()
			d.register(v, owner)
			x := &target{device: v}
			targets, byKey[v.Key] = append(targets, x), x
		}
		all = append(all, v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var peers sync.WaitGroup
	var calm atomic.Bool // connections stay, so that all arrives however long it takes
	serve := func(token []string, hello wire.Message) {
		for ctx.Err() == nil {
			c, _, err := d.tryConnect(token...)
			if err != nil {
				return
			}
			c.say(hello)
			go func() {
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(20+rand.IntN(100)) * time.Millisecond):
				}
				if calm.Load() {
					<-ctx.Done()
				}
				c.ws.Close()
			}()
			for m := range c.in {
				if m.Type != wire.TypeUpdate || rand.IntN(20) == 0 { // now and then it is not acknowledged
					continue
				}
				for _, e := range m.Updates {
					byKey[e.Key].last.note(e.Version)
				}
				c.ws.WriteMessage(websocket.TextMessage, wire.AppendAck(nil, false, edition.Update(m.Updates))) // may be closed
			}
		}
	}
	for i := range devices {
		if i%3 == 0 {
			continue
		}
		hello := wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{all[i].claim()}}
		if i%2 == 0 { // and one with two
			hello.Agents = append(hello.Agents, all[(i+3)%devices].claim())
		}
		peers.Go(func() { serve(nil, hello) })
	}
	peers.Go(func() {
		serve([]string{relayToken}, wire.Message{Type: wire.TypeHello, Relay: "r1", Store: "store-of-r1"})
	})
	var publishers sync.WaitGroup
	for range 4 {
		publishers.Go(func() {
			for v := range rounds {
				for _, x := range targets {
					d.hub.Deliver(edition.Update{{Key: x.Key, Version: v + 1}}, edition.Delivery{})
				}
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			}
		})
	}
	publishers.Wait()
	calm.Store(true)
	deadline := time.Now().Add(patient)
	for _, x := range targets {
		for x.last.load() < rounds || d.state(x.Key) != edition.StateDelivered {
			if time.Now().After(deadline) {
				t.Fatal("not delivered:", x.last.load(), d.state(x.Key))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	cancel()
	peers.Wait()
}

// A connection whose peer does not read holds no more than what is in flight,
// however much is delivered.
func TestSlowReaderHoldsMemoryFlat(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+d.url[len("http"):]+wire.PathWebSocket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteJSON(wire.Message{Type: wire.TypeHello, Agents: []wire.Agent{v.claim()}}); err != nil {
		t.Fatal(err)
	}
	ws.ReadMessage() // its hello, then it reads no more
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range edition.Version(100_000) {
		d.hub.Deliver(edition.Update{event(v, n)}, edition.Delivery{})
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("the heap grew by %d bytes", after-before)
	}
}
