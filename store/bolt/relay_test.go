package bolt

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// TestMarksLapseDuringASweep: what a relay has reported stored is due again when
// the relay comes with another store, though a sweep is just then moving the
// mark from memory to its table.
func TestMarksLapseDuringASweep(t *testing.T) {
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "edition.db"), MemoryRows: 1, JournalBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	var armed atomic.Bool
	begun, release := make(chan struct{}), make(chan struct{})
	s.fault = func(stage string) error {
		if stage == "begin" && armed.CompareAndSwap(true, false) {
			close(begun)
			<-release
		}
		return nil
	}
	begin(t, s)
	relay, err := s.Relay(t.Context(), "r", "1")
	if err != nil {
		t.Fatal(err)
	}
	u := edition.Update{{Key: benchKey(1), Version: 1}, {Key: benchKey(2), Version: 1}}.Normalize()
	for _, e := range u {
		if err := s.Register(t.Context(), edition.Registration{Key: e.Key, Owner: relay}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Deliver(u, edition.Delivery{}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Sent(relay, u); err != nil {
		t.Fatal(err)
	}
	wait(t, "both to leave memory", func() bool { return !s.inMemory(u[0].Key) && !s.inMemory(u[1].Key) })

	armed.Store(true)
	e := u[1]
	if n, err := s.Ack(relay, edition.Update{e}, edition.AckStored); err != nil || n.Cleared != 1 {
		t.Fatal(n, err)
	}
	<-begun // the commit that moves it
	if err := s.Sent(relay, u[:1]); err != nil {
		t.Fatal(err)
	}
	first := &s.shards[shardOf(u[0].UAID)]
	first.mu.Lock() // whoever goes through all rows stops here
	done := make(chan error, 1)
	go func() {
		_, err := s.Relay(t.Context(), "r", "2")
		done <- err
	}()
	for end := time.Now().Add(50 * time.Millisecond); s.relays.epoch(uint32(relay)) == 1 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wait(t, "the one to leave memory", func() bool { return !s.inMemory(e.Key) })
	first.mu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if due, err := s.Pending(nil, relay, e.UAID); err != nil || len(due) != 1 {
		t.Errorf("due again: %v, %v", due, err)
	}
}
