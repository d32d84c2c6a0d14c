package bolt

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/edition-push/edition"
)

// run opens a store and runs it until the test ends or stop is called.
func run(t testing.TB, o Options) (s *Store, stop func()) {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "edition.db")
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, begin(t, s)
}

// begin runs a store that was opened, as run does.
func begin(t testing.TB, s *Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// benchKey is the i-th of many keys in random order.
func benchKey(i int) (k edition.Key) {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	binary.BigEndian.PutUint64(k.UAID[:], r.Uint64())
	binary.BigEndian.PutUint64(k.UAID[8:], r.Uint64())
	k.UAID[6], k.UAID[8] = k.UAID[6]&0x0f|0x40, k.UAID[8]&0x3f|0x80
	k.AppID = edition.AppID(k.UAID)
	return k
}

// files are what bulkFile has made; TestMain removes them. A file serves
// several benchmarks: versions come from the clock.
var files = map[string]string{}
