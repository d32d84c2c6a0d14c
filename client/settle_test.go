package client

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// TestSettle ends a device as soon as it has settled: upstream must have the
// ack by then, also when that travels with a poll that is held.
func TestSettle(t *testing.T) {
	for name, hold := range map[string]time.Duration{"polls answered at once": 0, "polls held": time.Minute} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{t: t}
			release := make(chan struct{})
			registered := make(chan edition.Key, 1)
			api := s.api()
			api[wire.PathRegister] = func(w http.ResponseWriter, body []byte) any {
				req := decode[wire.RegisterRequest](t, body)
				k := edition.Key{UAID: *req.UAID, AppID: *req.AppID}
				s.mu.Lock()
				s.wait = edition.Update{{Key: k, Version: 7}}
				s.mu.Unlock()
				registered <- k
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusCreated)
				return wire.RegisterResponse{UAID: k.UAID, AppID: k.AppID, Endpoint: "http://push.example/v1/e/x"}
			}
			answer := api[wire.PathUpdate]
			api[wire.PathUpdate] = func(w http.ResponseWriter, body []byte) any {
				if req := decode[wire.UpdateRequest](t, body); hold > 0 && len(req.Ack) > 0 {
					<-release // without having looked at the ack
				}
				return answer(w, body)
			}
			up := &upstream{api: api}
			d, err := OpenDevice(DeviceConfig{
				Config: Config{URL: up.serve(t), Mode: ModePoll, Wait: time.Second},
				State:  filepath.Join(t.TempDir(), "state.json"),
			})
			if err != nil {
				t.Fatal(err)
			}
			seen := make(chan edition.Version, 1)
			if err := d.Register(App{Name: "app", OnVersion: func(v edition.Version) { seen <- v }}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error { return d.Run(ctx) })
			within(t, registered, "the registration")
			within(t, seen, "the version")
			if err := d.Settle(ctx); err != nil {
				t.Errorf("Settle: %v", err)
			}
			cancel()
			close(release)
			if err := g.Wait(); err != nil {
				t.Errorf("Run: %v", err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.wait) != 0 {
				t.Errorf("settled, and %v is still pending", s.wait)
			}
		})
	}
}
