package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func TestCodeIn(t *testing.T) {
	for payload, want := range map[string]string{
		"NOTIFY 10.0.0.1:4000":          "",
		"NOTIFY 10.0.0.1:4000 7KQ2M9XD": "7KQ2M9XD",
		"7KQ2M9XD":                      "",
		"x 7KQ2M9X":                     "",
		"x 7KQ2M9XDD":                   "",
		"x 7KQ2-9XD":                    "",
		"x 7KQ2M9\xff\xff":              "",
		"":                              "",
	} {
		if got := codeIn(payload); got != want {
			t.Errorf("%q: code %q, want %q", payload, got, want)
		}
	}
}

func TestKickList(t *testing.T) {
	for kick, want := range map[string]int{
		"": 0, "null": 0, " {} ": 1, `{"driver":"fcm"}`: 1, `[{"driver":"fcm"},{"driver":"sms"}]`: 2, "[]": 0,
		"7": -1, `"x"`: -1, "[7]": -1, "[{}": -1, `[["x"]]`: -1,
	} {
		list, err := kickList(json.RawMessage(kick))
		if want < 0 && !errors.Is(err, edition.ErrMalformed) || want >= 0 && (err != nil || len(list) != want) {
			t.Errorf("%q: %d kicks, %v", kick, len(list), err)
		}
	}
	cfg := DeviceConfig{State: statePath(t), Config: Config{URL: "http://x.test"}, Kick: json.RawMessage(`7`)}
	if _, err := OpenDevice(cfg); !errors.Is(err, edition.ErrConfig) {
		t.Error(err)
	}
}

// port returns where the device has said that it hears datagrams.
func (p *place) port(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	kick := strings.TrimPrefix(string(p.asked[0].Kick), "[")
	var route struct{ Port int }
	if err := json.NewDecoder(strings.NewReader(kick)).Decode(&route); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", route.Port)
}

func datagram(t *testing.T, to, text string) {
	t.Helper()
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A code that comes by datagram or by Wake is repeated, once; a wrong one does
// not end the device.
func TestDeviceConfirms(t *testing.T) {
	for name, cfg := range map[string]DeviceConfig{
		"asleep":    {UDP: "127.0.0.1:0"},
		"connected": {UDP: "127.0.0.1:0", Stay: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, up := newPlace(t)
			p.code = "7KQ2M9XD"
			cfg.State, cfg.URL = statePath(t), up.serve(t)
			cfg.Kick = json.RawMessage(`{"driver":"sms","number":"+1"}`)
			d := openDevice(t, cfg)
			h := new(heard)
			if err := d.Register(h.app("a")); err != nil {
				t.Fatal(err)
			}
			runDevice(t, d)
			eventually(t, "an endpoint", func() bool { e, _ := h.got(); return len(e) == 1 })
			d.Wake("WRONG234")
			eventually(t, "a wrong code", p.has(func() bool { return len(p.codes) == 1 && p.open }))
			datagram(t, p.port(t), "NOTIFY 127.0.0.1:1 7KQ2M9XD")
			eventually(t, "the code", p.has(func() bool { return !p.open }))
			// Nothing waits for a code any more: none is repeated.
			d.Wake("7KQ2M9XD")
			p.put(d.Apps()[0].AppID, 1)
			d.Wake("")
			eventually(t, "an ack", func() bool { return p.isAcked(d.Apps()[0].AppID, 1) })
			p.mu.Lock()
			defer p.mu.Unlock()
			if !slices.Equal(p.codes, []string{"WRONG234", "7KQ2M9XD"}) {
				t.Errorf("codes %v", p.codes)
			}
			if k := string(p.asked[0].Kick); !strings.HasPrefix(k, `[{"ip":`) || !strings.HasSuffix(k, `,{"driver":"sms","number":"+1"}]`) {
				t.Errorf("kick %s", k)
			}
		})
	}
}

// A code that did not come is asked for again; one that comes before upstream
// says that it waits for it is kept.
func TestCodesAreAskedForAgain(t *testing.T) {
	for name, cfg := range map[string]DeviceConfig{
		"asleep":    {Sleep: true},
		"connected": {},
	} {
		t.Run(name, func(t *testing.T) {
			p, up := newPlace(t)
			p.code = "7KQ2M9XD"
			cfg.State, cfg.URL, cfg.Safety = statePath(t), up.serve(t), 20*time.Millisecond
			cfg.Kick = json.RawMessage(`{"driver":"sms"}`)
			d := openDevice(t, cfg)
			if err := d.Register(App{Name: "a"}); err != nil {
				t.Fatal(err)
			}
			runDevice(t, d)
			eventually(t, "the kick again", p.has(func() bool { return len(p.kicks) > 1 }))
			d.Wake("7KQ2M9XD")
			eventually(t, "the code", p.has(func() bool { return len(p.codes) == 1 && !p.open }))
		})
	}
	t.Run("early", func(t *testing.T) {
		p, up := newPlace(t)
		p.code = "7KQ2M9XD"
		d := openDevice(t, DeviceConfig{
			State: statePath(t), Config: Config{URL: up.serve(t)}, Sleep: true, Kick: json.RawMessage(`{"driver":"sms"}`),
		})
		if err := d.Register(App{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			d.Wake(fmt.Sprintf("WRONG23%d", i)) // no more are kept than there can be routes
		}
		d.Wake("7KQ2M9XD")
		runDevice(t, d)
		eventually(t, "the code", p.has(func() bool { return len(p.codes) > 0 && !p.open }))
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.codes) > edition.MaxRoutes {
			t.Errorf("codes %v", p.codes)
		}
	})
}

// Routes that are gone are told to the app, and all are told anew.
func TestRouteGone(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]DeviceConfig{
		"asleep":    {Sleep: true},
		"connected": {},
		"polling":   {Config: Config{Mode: ModePoll, Interval: time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			p, up := newPlace(t)
			cfg.State, cfg.URL, cfg.RetryMax = statePath(t), up.serve(t), time.Millisecond
			cfg.Kick = json.RawMessage(`{"driver":"fcm","token":"old"}`)
			var d *Device
			gone := make(chan []string, 1)
			var first sync.Once // polls tell it until the kick is told, and the last answer may come after that
			cfg.OnRouteGone = func(drivers []string) {
				first.Do(func() {
					gone <- drivers
					if err := d.SetKick(json.RawMessage(`{"driver":"fcm","token":"new"}`)); err != nil {
						t.Error(err)
					}
				})
			}
			d = openDevice(t, cfg)
			h := new(heard)
			if err := d.Register(h.app("a")); err != nil {
				t.Fatal(err)
			}
			runDevice(t, d)
			eventually(t, "an endpoint", func() bool { e, _ := h.got(); return len(e) == 1 })
			p.mu.Lock()
			p.gone = []string{"fcm"}
			peers := p.peers
			p.mu.Unlock()
			for _, c := range peers {
				c.conn.Close()
			}
			d.Wake("")
			if got := within(t, gone, "what is gone"); !slices.Equal(got, []string{"fcm"}) {
				t.Errorf("gone %v", got)
			}
			eventually(t, "the kick anew", p.has(func() bool {
				n := len(p.kicks)
				return len(p.gone) == 0 && n > 0 && p.kicks[n-1] == `{"driver":"fcm","token":"new"}`
			}))
			// nil forgets.
			if err := d.SetKick(nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "no kick", p.has(func() bool { return p.kicks[len(p.kicks)-1] == "null" }))
		})
	}
	d := openDevice(t, DeviceConfig{State: statePath(t), Config: Config{URL: "http://x.test"}})
	if err := d.SetKick(json.RawMessage(`"x"`)); !errors.Is(err, edition.ErrMalformed) {
		t.Error(err)
	}
}

// A device that upstream closes as idle sleeps, which is no fault, until it is
// woken, has something to register, or Safety has passed.
func TestClosedAsIdle(t *testing.T) {
	t.Parallel()
	p, up := newPlace(t)
	metrics := NewMetrics(nil)
	d := openDevice(t, DeviceConfig{
		State: statePath(t), Config: Config{URL: up.serve(t), Mode: ModeWebSocket, Metrics: metrics}, UDP: "127.0.0.1:0", Stay: true,
	})
	h := new(heard)
	if err := d.Register(h.app("a")); err != nil {
		t.Fatal(err)
	}
	runDevice(t, d)
	eventually(t, "an endpoint", func() bool { e, _ := h.got(); return len(e) == 1 })
	app := d.Apps()[0].AppID
	connections := 1
	for name, wake := range map[string]func(){
		"a datagram": func() { datagram(t, p.port(t), "NOTIFY") },
		"Wake":       func() { d.Wake("") },
		"an app": func() {
			if err := d.Register(App{Name: "b"}); err != nil {
				t.Error(err)
			}
		},
	} {
		p.idle()
		eventually(t, "sleep", func() bool { return d.Connection().Asleep })
		if s := d.Connection(); s.Connected || ReasonOf(s.Err) != ReasonIdle {
			t.Errorf("%+v", s)
		}
		wake()
		connections++
		eventually(t, "a connection after "+name, p.has(func() bool { return len(p.peers) == connections }))
		eventually(t, "the connection", func() bool { return d.Connection().Connected })
		if name == "an app" { // on its way it would wake the device once more
			eventually(t, "its endpoint", func() bool { return d.Endpoint("b") != "" })
		}
	}
	// A wake-up that comes before the close is not lost.
	d.Wake("")
	p.idle()
	eventually(t, "another connection", p.has(func() bool { return len(p.peers) > connections }))
	p.put(app, 5)
	eventually(t, "an ack", func() bool { return p.isAcked(app, 5) })
	if n := count(metrics.faults.WithLabelValues(string(ReasonIdle))); n != 0 {
		t.Errorf("%v faults are counted", n)
	}
}

// A device that sleeps does not connect when there is nothing to tell: what it
// was rung for may have been told on the connection before.
func TestAsleepWithoutNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p, up := newPlace(t)
		d := openDevice(t, DeviceConfig{
			State: statePath(t), Config: Config{URL: "http://x.test", Proxy: ProxyDirect, Mode: ModeWebSocket, Dial: up.pipe(ctx, t)},
		})
		if err := d.Register(App{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		synctest.Wait()
		p.idle()
		synctest.Wait()
		ring(d.sign)
		synctest.Wait()
		if !d.Connection().Asleep || len(p.peers) != 1 {
			t.Errorf("%+v after %d connections", d.Connection(), len(p.peers))
		}
		if err := d.Unregister("a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !d.Connection().Connected || len(p.peers) != 2 || len(p.known) != 0 {
			t.Errorf("%+v after %d connections", d.Connection(), len(p.peers))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestClosedAsIdleLooksByItself(t *testing.T) {
	p, up := newPlace(t)
	d := openDevice(t, DeviceConfig{State: statePath(t), Config: Config{URL: up.serve(t)}, Safety: 10 * time.Millisecond})
	if err := d.Register(App{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	runDevice(t, d)
	for n := range 3 {
		eventually(t, "a connection", p.has(func() bool { return len(p.peers) > n }))
		p.idle()
	}
}

// Wake ends the pause after a failure, at most once a second, and not the one
// that upstream asked for.
func TestWakeEndsAPause(t *testing.T) {
	for name, tt := range map[string]struct {
		err      error
		from, to int // attempts in five minutes
	}{
		"refused": {edition.ErrForbidden, 290, 310},
		"later":   {edition.RetryAfter(edition.ErrUnavailable, time.Minute), 4, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var tries atomic.Int32
				up := &upstream{get: func(w http.ResponseWriter, _ *http.Request) {
					tries.Add(1)
					wire.WriteProblem(w, tt.err)
				}}
				c := newClient(t, Config{URL: "http://x.test", Proxy: ProxyDirect, Mode: ModeWebSocket, RetryMax: time.Hour, Dial: up.pipe(ctx, t)})
				ended := make(chan struct{})
				go func() { defer close(ended); _ = c.Run(ctx) }()
				for range 3000 {
					time.Sleep(100 * time.Millisecond)
					c.Wake()
				}
				cancel()
				<-ended
				if n := int(tries.Load()); n < tt.from || n > tt.to {
					t.Errorf("%d attempts in five minutes", n)
				}
			})
		})
	}
}

// A relay that is asked to wake a device answers, over either transport; a
// device is not asked.
func TestWakeARelaysDevice(t *testing.T) {
	order := wire.Wake{ID: 7, Wake: wire.WakeRequest{Kick: json.RawMessage(`{"driver":"udp"}`)}}
	answer := wire.WakeResult{Outcome: "sent", Driver: "udp"}
	for _, mode := range []string{ModeWebSocket, ModePoll} {
		t.Run(mode, func(t *testing.T) {
			answers := make(chan wire.Woken, 10)
			told := make(chan struct{}, 1)
			up := &upstream{
				ws: func(p *peer) {
					p.hello()
					p.send(wire.Message{Type: wire.TypeWake, ID: order.ID, Wake: &order.Wake})
					if m, ok := p.read(); ok && m.Type == wire.TypeWoken {
						answers <- wire.Woken{ID: m.ID, Woken: *m.Woken}
					}
					p.drain()
				},
				api: map[string]func(http.ResponseWriter, []byte) any{
					wire.PathUpdate: func(http.ResponseWriter, []byte) any {
						select {
						case told <- struct{}{}:
							return wire.UpdateResponse{Wakes: []wire.Wake{order}}
						default:
							return nil
						}
					},
					wire.PathAck: func(_ http.ResponseWriter, b []byte) any {
						for _, w := range decode[wire.AckRequest](t, b).Woken {
							answers <- w
						}
						return nil
					},
				},
			}
			var c *Client
			c = newClient(t, Config{
				URL: up.serve(t), Mode: mode, Relay: "r", Token: "tok", Interval: time.Second,
				Wake: func(w wire.Wake) {
					if w.ID != order.ID || string(w.Wake.Kick) != string(order.Wake.Kick) {
						t.Errorf("asked %+v", w)
					}
					go func() {
						for c.Woken(wire.Woken{ID: w.ID, Woken: answer}) != nil {
							time.Sleep(time.Millisecond) // the connection is not up yet
						}
					}()
				},
			})
			run(t, c)
			if got := within(t, answers, "the answer"); got.ID != order.ID || got.Woken != answer {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("device", func(t *testing.T) {
		pinged := make(chan struct{})
		up := &upstream{ws: func(p *peer) {
			p.hello()
			p.send(wire.Message{Type: wire.TypeWake, ID: order.ID, Wake: &order.Wake})
			if m, _ := p.read(); m.Type != wire.TypePing {
				t.Errorf("a device answered %+v", m)
			}
			close(pinged)
			p.drain()
		}}
		c := newClient(t, Config{
			URL: up.serve(t), Mode: ModeWebSocket, Agents: []wire.Agent{{UAID: testUAID(1)}},
			Wake: func(wire.Wake) { t.Error("a device was asked") },
		})
		run(t, c)
		eventually(t, "a connection", func() bool { return c.State().Connected })
		go c.Barrier(t.Context()) // it is not answered
		within(t, pinged, "what was said next")
	})
	if err := newClient(t, Config{URL: "http://x.test", Relay: "r"}).Woken(wire.Woken{}); !errors.Is(err, edition.ErrUnavailable) {
		t.Error(err)
	}
}
