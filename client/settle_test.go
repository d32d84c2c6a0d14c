package client

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
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

// TestBarrierBehindARequest has a poll bring later acks up while an earlier one
// is on its way in a request of its own: the barrier is behind both.
func TestBarrierBehindARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		answers, release := make(chan wire.UpdateResponse), make(chan struct{})
		up := &upstream{api: map[string]func(http.ResponseWriter, []byte) any{
			wire.PathUpdate: func(http.ResponseWriter, []byte) any {
				select {
				case a := <-answers:
					return a
				case <-ctx.Done():
					return nil
				}
			},
			wire.PathAck: func(http.ResponseWriter, []byte) any { <-release; return nil },
		}}
		var c *Client
		c = newClient(t, Config{
			URL: "http://x.test", Proxy: ProxyDirect, Dial: up.pipe(ctx, t), Mode: ModePoll,
			Agents: []wire.Agent{{UAID: testUAID(1)}},
			Update: func(u edition.Update, _ []*edition.Body, done func()) {
				if err := c.Ack(u); err != nil {
					t.Error(err)
				}
				done()
			},
		})
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		answers <- wire.UpdateResponse{}
		synctest.Wait()
		if err := c.Ack(edition.Update{event(1, 1, 1)}); err != nil { // a poll is out
			t.Fatal(err)
		}
		synctest.Wait() // its request is out too
		answers <- wire.UpdateResponse{Updates: wire.Updates{event(1, 2, 2)}}
		answers <- wire.UpdateResponse{} // to the poll with the second ack
		synctest.Wait()
		passed := make(chan error, 1)
		go func() { passed <- c.Barrier(ctx) }()
		synctest.Wait()
		if len(passed) > 0 {
			t.Error("passed before upstream has taken the first ack")
		}
		close(release)
		if err := <-passed; err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
