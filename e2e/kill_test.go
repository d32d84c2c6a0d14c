package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is one device with its app server: what was promised to it and what it saw.
type load struct {
	*device
	home   *node
	online bool // stays connected; else it comes at the end only

	mu       sync.Mutex // guards what follows
	next     uint64     // the app server's next version
	promised uint64     // greatest version answered 2xx
	saw      uint64     // greatest version the device was sent
	faults   []string
}

// publish sends rising versions until stop closes.
func (l *load) publish(stop <-chan struct{}, count *atomic.Int64) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		l.mu.Lock()
		l.next++
		v := l.next
		l.mu.Unlock()
		switch status := put(l.endpoint, v); status {
		case 200, 202:
			count.Add(1)
			l.mu.Lock()
			l.promised = max(l.promised, v)
			l.mu.Unlock()
		case 0, 503:
			time.Sleep(10 * time.Millisecond)
		default:
			l.fault("PUT answered %d", status)
			return
		}
	}
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) < 5 {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// live connects, takes updates and acknowledges them, again and again. Every
// few updates it acknowledges late, twice, or not at all.
func (l *load) live(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		w, _, err := dial(l.home, nil)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		l.session(w, stop)
		w.conn.Close()
	}
}

func (l *load) session(w *ws, stop <-chan struct{}) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-stop:
			w.conn.Close()
		case <-done:
		}
	}()
	if w.send(obj{"type": "hello", "agents": []obj{l.agent()}}) != nil {
		return
	}
	var acked uint64 // on this connection, so known to be handled in order
	for n := 0; ; n++ {
		m, err := w.read(patience)
		if err != nil {
			return
		}
		if m.Type == "hello" && len(m.Refused) > 0 {
			l.fault("hello refused at %s", l.home.name)
		}
		if m.Type != "update" {
			continue
		}
		v := m.Updates[l.uaid][l.appid]
		l.mu.Lock()
		l.saw = max(l.saw, v)
		l.mu.Unlock()
		if v < acked {
			l.fault("version %d was sent after the ack of %d on the same connection", v, acked)
		}
		switch rand.IntN(20) {
		case 0:
			return // gone without an ack
		case 1:
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		}
		ack := obj{"type": "ack", "updates": l.versions(v)}
		if rand.IntN(2) == 0 {
			ack = obj{"type": "ack", "id": m.ID}
		}
		if w.send(ack) != nil {
			return
		}
		acked = max(acked, v)
		if rand.IntN(10) == 0 && w.send(ack) != nil {
			return
		}
	}
}

// settle connects at the end and waits until everything promised has come.
func (l *load) settle(t *testing.T) {
	deadline := time.Now().Add(2 * patience)
	for {
		l.mu.Lock()
		saw, promised := l.saw, l.promised
		l.mu.Unlock()
		if saw >= promised {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("device at %s: version %d was answered 2xx, the greatest that came is %d", l.home.name, promised, saw)
			return
		}
		w, _, err := dial(l.home, nil)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		w.send(obj{"type": "hello", "agents": []obj{l.agent()}})
		for start := time.Now(); time.Since(start) < 10*time.Second; { // or another try
			m, err := w.read(2 * time.Second)
			if err != nil {
				break
			}
			if m.Type != "update" {
				continue
			}
			v := m.Updates[l.uaid][l.appid]
			l.mu.Lock()
			l.saw = max(l.saw, v)
			saw = l.saw
			l.mu.Unlock()
			w.send(obj{"type": "ack", "updates": l.versions(v)})
			if saw >= promised {
				break
			}
		}
		w.conn.Close()
	}
}

func cycles() int {
	if os.Getenv("EDITION_LONG") != "" {
		return 50
	}
	return 3
}

// TestKill kills the server or a relay at random moments under load: every
// version whose PUT was answered 2xx, or a greater one, reaches its device.
func TestKill(t *testing.T) {
	server := newServer(t, "near").start()
	near := newRelay(t, "near", server, "far").start()
	far := newRelay(t, "far", near).start()
	nodes := []*node{server, near, far}

	var loads []*load
	for i := range 24 {
		home := nodes[i%3]
		loads = append(loads, &load{device: newDevice().register(t, home), home: home, online: i%2 == 0})
	}
	stopPut, stopLive := make(chan struct{}), make(chan struct{})
	var publishers, devices sync.WaitGroup
	var puts atomic.Int64
	for _, l := range loads {
		publishers.Go(func() { l.publish(stopPut, &puts) })
		if l.online {
			devices.Go(func() { l.live(stopLive) })
		}
	}
	for range cycles() {
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		victim := nodes[rand.IntN(len(nodes))]
		victim.kill()
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		victim.start()
	}
	time.Sleep(300 * time.Millisecond)
	for start := time.Now(); puts.Load() < int64(len(loads)) && time.Since(start) < patience; {
		time.Sleep(10 * time.Millisecond)
	}
	close(stopPut)
	publishers.Wait()
	close(stopLive)
	devices.Wait()

	var settling sync.WaitGroup
	for _, l := range loads {
		settling.Go(func() { l.settle(t) })
	}
	settling.Wait()
	for _, l := range loads {
		for _, f := range l.faults {
			t.Errorf("device at %s: %s", l.home.name, f)
		}
	}
	if puts.Load() < int64(len(loads)) {
		t.Errorf("only %d PUTs were answered 2xx: the test has tested nothing", puts.Load())
	}
	t.Logf("%d PUTs answered 2xx over %d crashes", puts.Load(), cycles())
}
