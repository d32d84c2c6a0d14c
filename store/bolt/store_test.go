package bolt

import (
	"context"
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
	return s, stop
}

func TestSmoke(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edition.db")
	s, stop := run(t, Options{Path: path})
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	if err := s.Register(t.Context(), edition.Registration{Key: k}); err != nil {
		t.Fatal(err)
	}
	r := s.Deliver(edition.Update{{Key: k, Version: 5}}, edition.Delivery{})
	res, err := r.Wait(t.Context())
	t.Log(res, err, r.Fresh)
	u, err := s.Pending(nil, 0, k.UAID)
	t.Log(u, err)
	stop()
	s, _ = run(t, Options{Path: path})
	u, err = s.Pending(nil, 0, k.UAID)
	t.Log(u, err)
	st, err := s.State(k)
	t.Log(st, err)
}
