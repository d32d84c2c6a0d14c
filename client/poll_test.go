package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// shelf is an upstream's side of polling: what is pending until it is acked.
type shelf struct {
	t *testing.T

	mu    sync.Mutex
	wait  edition.Update // Guarded by mu, as all
	polls []wire.UpdateRequest
	acks  []wire.AckRequest
}

func (s *shelf) api() map[string]func(http.ResponseWriter, []byte) any {
	return map[string]func(http.ResponseWriter, []byte) any{wire.PathUpdate: s.update, wire.PathAck: s.ack}
}

func (s *shelf) update(_ http.ResponseWriter, body []byte) any {
	req := decode[wire.UpdateRequest](s.t, body)
	s.mu.Lock()
	s.polls = append(s.polls, req)
	s.clear(edition.Update(req.Ack))
	u := append(edition.Update(nil), s.wait...)
	s.mu.Unlock()
	if len(u) > 0 {
		return wire.UpdateResponse{Updates: wire.Updates(u)}
	}
	d, _ := time.ParseDuration(req.Wait)
	time.Sleep(min(d, 50*time.Millisecond)) // stands for a long poll
	return nil
}

func (s *shelf) ack(_ http.ResponseWriter, body []byte) any {
	req := decode[wire.AckRequest](s.t, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, req)
	s.clear(edition.Update(req.Updates))
	s.clear(edition.Update(req.Refuse))
	return nil
}

func (s *shelf) clear(u edition.Update) {
	for _, a := range u {
		for i, e := range s.wait {
			if e == a {
				s.wait = append(s.wait[:i:i], s.wait[i+1:]...)
				break
			}
		}
	}
}

func TestPollDevice(t *testing.T) {
	t.Parallel()
	s := &shelf{t: t, wait: edition.Update{event(1, 1, 5), event(1, 2, 6)}}
	up := &upstream{api: s.api()}
	got := make(chan edition.Event, 10)
	var c *Client
	cfg := Config{
		URL: up.serve(t), Mode: ModePoll, Wait: time.Second,
		Agents: []wire.Agent{{UAID: testUAID(1), Secret: "s"}},
		Update: func(u edition.Update, _ []*edition.Body, done func()) {
			for _, e := range u {
				got <- e
			}
			_ = c.Ack(u)
			done()
		},
	}
	c = newClient(t, cfg)
	run(t, c)
	within(t, got, "an event")
	within(t, got, "another")
	eventually(t, "the acks", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.wait) == 0 && len(s.polls) > 3 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.acks) != 0 || len(s.polls[1].Ack) != 2 {
		t.Errorf("acks travel with the next poll: %d requests, then %v", len(s.acks), s.polls[1].Ack)
	}
	if s.polls[0].Wait != "" || s.polls[1].Wait != "" || s.polls[2].Wait != "1s" || s.polls[0].Agents[0].Secret != "s" {
		t.Errorf("polls %+v", s.polls[:3])
	}
	if len(got) > 0 {
		t.Errorf("%d events came twice", len(got))
	}
}

// TestPollRelay has a relay keep an UPDATE in the background while the client
// waits for it, and reports go beside a poll that is held.
func TestPollRelay(t *testing.T) {
	t.Parallel()
	s := &shelf{t: t, wait: edition.Update{event(1, 1, 5), event(2, 1, 6)}}
	up := &upstream{api: s.api()}
	var c *Client
	var handed atomic.Int32
	cfg := Config{
		URL: up.serve(t), Mode: ModePoll, Wait: time.Second, Relay: "r", StoreID: "id", Token: "tok",
		Update: func(u edition.Update, _ []*edition.Body, done func()) {
			handed.Add(1)
			u = append(edition.Update(nil), u...)
			go func() {
				time.Sleep(10 * time.Millisecond)
				_ = c.AckStored(u[:1])
				_ = c.Refuse(u[1:])
				done()
			}()
		},
	}
	c = newClient(t, cfg)
	run(t, c)
	eventually(t, "the acks", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.wait) == 0 })
	eventually(t, "a held poll", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.polls) > 2 })
	if err := c.Ack(edition.Update{event(1, 1, 5)}); err != nil {
		t.Fatal(err)
	}
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if handed.Load() != 1 {
		t.Errorf("the UPDATE was handed out %d times", handed.Load())
	}
	if len(s.acks) != 3 || s.acks[0].State != wire.AckStored || len(s.acks[1].Refuse) != 1 || s.acks[2].State != "" || s.acks[2].Relay != "r" {
		t.Errorf("acks %+v", s.acks)
	}
	if p := s.polls[0]; p.Relay != "r" || p.Store != "id" || len(p.Agents) != 0 {
		t.Errorf("poll %+v", p)
	}
	if up.token() != "Bearer tok" {
		t.Error("a poll without the token")
	}
}

// TestPollPauses counts polls in an hour: an UPDATE that the handler cannot ack
// does not make a loop, a long poll that is not held neither, and an interval
// is kept.
func TestPollPauses(t *testing.T) {
	for _, c := range []struct {
		name           string
		wait, interval time.Duration
		update         bool
		min, max       int
	}{
		{"interval", 0, time.Minute, false, 54, 68},
		{"not held", 30 * time.Second, 0, false, 1800, 7300},
		{"never acked", 30 * time.Second, 0, true, 60, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				var polls atomic.Int32
				up := &upstream{api: map[string]func(http.ResponseWriter, []byte) any{
					wire.PathUpdate: func(http.ResponseWriter, []byte) any {
						polls.Add(1)
						if c.update {
							return wire.UpdateResponse{Updates: wire.Updates{event(1, 1, 1)}}
						}
						return nil
					},
				}}
				cl := newClient(t, Config{
					URL: "http://upstream.test", Proxy: ProxyDirect, Dial: up.pipe(ctx, t), Mode: ModePoll,
					Wait: c.wait, Interval: c.interval, Agents: []wire.Agent{{UAID: testUAID(1)}},
				})
				done := make(chan error)
				go func() { done <- cl.Run(ctx) }()
				time.Sleep(time.Hour)
				if n := int(polls.Load()); n < c.min || n > c.max {
					t.Errorf("%d polls in an hour, want %d to %d", n, c.min, c.max)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // of the handlers
			})
		})
	}
}

// TestPollReplaced has another copy of the client take over: the two do not
// fight.
func TestPollReplaced(t *testing.T) {
	up := &upstream{api: map[string]func(http.ResponseWriter, []byte) any{
		wire.PathUpdate: func(w http.ResponseWriter, _ []byte) any {
			wire.WriteProblem(w, fmt.Errorf("%w: a newer poll", edition.ErrConflict))
			return nil
		},
	}}
	c := newClient(t, Config{URL: up.serve(t), Mode: ModePoll, Agents: []wire.Agent{{UAID: testUAID(1)}}})
	defer c.rest.close()
	if err := c.connect(t.Context()); ReasonOf(err) != ReasonReplaced || !errors.Is(err, edition.ErrConflict) {
		t.Errorf("%q %v", ReasonOf(err), err)
	}
}

// TestFallback puts everything on the way that refuses a WebSocket; polling
// works all the same.
func TestFallback(t *testing.T) {
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>")
		}
	}
	for _, c := range []struct {
		name string
		get  http.HandlerFunc
		ws   func(*peer)
		want Reason
	}{
		{"redirect", http.RedirectHandler("http://login.test/", http.StatusFound).ServeHTTP, nil, ReasonRedirect},
		{"html 200", html(200), nil, ReasonHTML},
		{"html 403", html(403), nil, ReasonHTML},
		{"426", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUpgradeRequired) }, nil, ReasonUpgrade},
		{"404", http.NotFound, nil, ReasonUpgrade},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, ReasonUpgrade},
		{"101 spoilt", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
			conn.Close()
		}, nil, ReasonUpgrade},
		{"other subprotocol", func(w http.ResponseWriter, r *http.Request) {
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err == nil {
				conn.Close()
			}
		}, nil, ReasonProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &shelf{t: t, wait: edition.Update{event(1, 1, 5)}}
			up := &upstream{get: c.get, ws: c.ws, api: s.api()}
			metrics := NewMetrics(nil)
			got := make(chan edition.Event, 10)
			var cl *Client
			cl = newClient(t, Config{
				URL: up.serve(t), Wait: time.Second, Agents: []wire.Agent{{UAID: testUAID(1)}}, Metrics: metrics,
				Update: func(u edition.Update, _ []*edition.Body, done func()) { got <- u[0]; _ = cl.Ack(u); done() },
			})
			run(t, cl)
			within(t, got, "an event")
			if s := cl.State(); !s.Connected || s.Transport != TransportPoll {
				t.Errorf("state %+v", s)
			}
			if n := count(metrics.faults.WithLabelValues(string(c.want))); n != 1 {
				t.Errorf("%v faults %q", n, c.want)
			}
		})
	}
}

// TestNoFallback leaves polling alone where upstream itself has spoken, or
// nobody has, and in mode websocket.
func TestNoFallback(t *testing.T) {
	problem := func(err error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { wire.WriteProblem(w, err) }
	}
	draining := edition.RetryAfter(fmt.Errorf("%w: draining", edition.ErrUnavailable), 2*time.Hour)
	for _, c := range []struct {
		name, mode string
		get        http.HandlerFunc
		is         error
	}{
		{"401", ModeAuto, problem(edition.ErrUnauthorized), edition.ErrUnauthorized},
		{"503", ModeAuto, problem(draining), edition.ErrUnavailable},
		{"mode", ModeWebSocket, http.NotFound, edition.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := &upstream{get: c.get, api: map[string]func(http.ResponseWriter, []byte) any{
				wire.PathUpdate: func(http.ResponseWriter, []byte) any { t.Error("polled"); return nil },
			}}
			cl := newClient(t, Config{URL: up.serve(t), Mode: c.mode, Agents: []wire.Agent{{UAID: testUAID(1)}}})
			if err := cl.connect(t.Context()); !errors.Is(err, c.is) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestTriesWebSocketAgain has the thing on the way go away: within ten minutes
// the client is back on a WebSocket.
func TestTriesWebSocketAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s := &shelf{t: t}
		up := &upstream{get: http.NotFound, api: s.api(), ws: func(p *peer) { p.hello(); p.drain() }}
		c := newClient(t, Config{
			URL: "http://upstream.test", Proxy: ProxyDirect, Dial: up.pipe(ctx, t),
			Agents: []wire.Agent{{UAID: testUAID(1)}},
		})
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(retryWebSocket - time.Minute)
		synctest.Wait()
		if s := c.State(); s.Transport != TransportPoll || !s.Connected {
			t.Errorf("before: %+v", s)
		}
		up.mu.Lock()
		up.get = nil
		up.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := c.State(); s.Transport != TransportWebSocket || !s.Connected {
			t.Errorf("after: %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // of the handlers
	})
}

// TestHelloUnanswered has something on the way let the upgrade through and then
// nothing more.
func TestHelloUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s := &shelf{t: t}
		up := &upstream{api: s.api(), ws: (*peer).drain}
		c := newClient(t, Config{
			URL: "http://upstream.test", Proxy: ProxyDirect, Dial: up.pipe(ctx, t),
			Agents: []wire.Agent{{UAID: testUAID(1)}},
		})
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(helloTimeout + time.Second)
		synctest.Wait()
		if s := c.State(); s.Transport != TransportPoll || !s.Connected {
			t.Errorf("%+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // of the handlers
	})
}

// TestStrangeAnswers has REST answers that are not upstream's; each is an error
// that says what it was, and counts as nothing.
func TestStrangeAnswers(t *testing.T) {
	elsewhere := &upstream{api: map[string]func(http.ResponseWriter, []byte) any{}}
	away := elsewhere.serve(t)
	for _, c := range []struct {
		name string
		do   func(http.ResponseWriter)
		want Reason
		text string
	}{
		{"redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", away+wire.PathRegister)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, ReasonRedirect, "redirect to"},
		{"html 200", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>")
		}, ReasonHTML, "web page"},
		{"html 502", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
		}, ReasonHTML, "502"},
		{"text", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "ok") }, ReasonProtocol, "text/plain"},
		{"no JSON", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{")
		}, ReasonProtocol, ""},
		{"trailing", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{} {}`)
		}, ReasonProtocol, "follows"},
		{"too large", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"endpoint":"`+strings.Repeat("x", maxAnswer)+`"}`)
		}, ReasonTooLarge, "over 1048576 bytes"},
		{"another's", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"uaid":%q,"appid":%q,"endpoint":"http://x/"}`, testUAID(9), edition.AppID(testUAID(1)))
		}, ReasonProtocol, "another"},
		{"no endpoint", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, ReasonProtocol, ""},
		{"503", func(w http.ResponseWriter) {
			wire.WriteProblem(w, edition.RetryAfter(edition.ErrUnavailable, 7*time.Second))
		}, ReasonRefused, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := &upstream{api: map[string]func(http.ResponseWriter, []byte) any{
				wire.PathRegister: func(w http.ResponseWriter, _ []byte) any { c.do(w); return nil },
			}}
			cl := newClient(t, Config{URL: up.serve(t)})
			defer cl.rest.close()
			err := cl.Visit(t.Context(), func(ctx context.Context, _ func() error) error {
				_, err := cl.Register(ctx, wire.Agent{UAID: testUAID(1)}, edition.AppID(testUAID(1)), nil)
				return err
			})
			if ReasonOf(err) != c.want || !strings.Contains(err.Error(), c.text) || !errors.Is(err, edition.ErrUnavailable) {
				t.Errorf("reason %q, want %q: %v", ReasonOf(err), c.want, err)
			}
			if c.name == "503" {
				if r, ok := errors.AsType[*edition.RetryError](err); !ok || r.After != 7*time.Second {
					t.Errorf("%#v", err)
				}
			}
		})
	}
	if n := elsewhere.requests(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}
