package session

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

// openIdle closes after a minute whom udp can wake, while awake says so.
func openIdle(t *testing.T, adjust func(*Options)) *door {
	return openInMemory(t, func(o *Options) {
		o.Limits.IdleClose = time.Minute
		o.Limits.Ping = 20 * time.Second
		o.Wakeable = func(rs edition.Routes) bool { return rs[0].Driver == "udp" }
		if adjust != nil {
			adjust(o)
		}
	})
}

func (c *peerConn) setKick(v device, kick string) {
	c.t.Helper()
	c.say(wire.Message{Type: wire.TypeKick, UAID: &v.UAID, Kick: json.RawMessage(kick)})
	c.hear(wire.TypeKick)
}

func TestIdleClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openIdle(t, nil)
		v := d.registered(edition.Direct)
		c := d.connect()
		c.hello(v)
		c.setKick(v, `{"driver":"udp"}`)
		start := time.Now()
		// Pings of both kinds keep nobody awake, everything else does.
		for range 4 {
			time.Sleep(10 * time.Second)
			c.barrier()
		}
		d.deliver(v.Key, 1)
		c.update(v.Key, 1)
		time.Sleep(50 * time.Second)
		c.ack(event(v, 1))
		time.Sleep(time.Minute - time.Second)
		c.wantClosed(4774, "server will wake you")
		within(t, "closed", time.Since(start), 40*time.Second+50*time.Second+time.Minute)
		synctest.Wait()
		if d.hub.Connected(edition.Holder{UAID: v.UAID}) {
			t.Error("still attached")
		}
		d.close()
	})
}

// Who cannot be woken, has something in flight, or is a relay, stays.
func TestNotIdle(t *testing.T) {
	for name, prepare := range map[string]func(d *door, c *peerConn, v device){
		"no route":                 func(_ *door, c *peerConn, v device) { c.hello(v) },
		"no such driver":           func(_ *door, c *peerConn, v device) { c.hello(v); c.setKick(v, `[{"driver":"sms"},{"driver":"udp"}]`) },
		"a route is not confirmed": func(_ *door, c *peerConn, v device) { c.hello(v); c.setKick(v, `{"driver":"sms"}`) },
		"one of two devices": func(d *door, c *peerConn, v device) {
			c.hello(v, d.registered(edition.Direct))
			c.setKick(v, `{"driver":"udp"}`)
		},
		"a route is gone": func(d *door, c *peerConn, v device) {
			c.hello(v)
			c.setKick(v, `{"driver":"udp"}`)
			d.lose(edition.Holder{UAID: v.UAID}, "udp")
		},
		"in flight": func(d *door, c *peerConn, v device) {
			c.hello(v)
			c.setKick(v, `{"driver":"udp"}`)
			d.deliver(v.Key, 1)
			c.update(v.Key, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := openIdle(t, func(o *Options) {
					o.Limits.AckTimeout = time.Hour
				})
				v := d.registered(edition.Direct)
				c := d.connect()
				prepare(d, c, v)
				time.Sleep(10 * time.Minute)
				c.barrier()
				c.ws.Close()
				d.close()
			})
		})
	}
	t.Run("relay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := openIdle(t, nil)
			c := d.link()
			c.say(wire.Message{Type: wire.TypeKick, Kick: json.RawMessage(`{"driver":"udp"}`)})
			c.hear(wire.TypeKick)
			time.Sleep(10 * time.Minute)
			c.barrier()
			c.ws.Close()
			d.close()
		})
	})
}

// A driver whose breaker was open is asked again later.
func TestIdleLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wakeable atomic.Bool
		d := openIdle(t, func(o *Options) { o.Wakeable = func(edition.Routes) bool { return wakeable.Load() } })
		v := d.registered(edition.Direct)
		c := d.connect()
		c.hello(v)
		c.setKick(v, `{"driver":"udp"}`)
		time.Sleep(5 * time.Minute)
		c.barrier()
		wakeable.Store(true)
		time.Sleep(time.Minute)
		c.wantClosed(4774, "")
		d.close()
	})
}

// kicker notes what the hub says.
type kicker struct{ due chan edition.Holder }

func (k *kicker) Due(party edition.Holder) bool   { k.due <- party; return true }
func (k *kicker) Found(party edition.Holder) bool { return true }
func (k *kicker) Stop(edition.Holder)             {}
func (k *kicker) Acked(edition.Holder)            {}

// An event that comes while an idle connection closes makes a kick due.
func TestEventWhileIdleCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.New(mem.Options{})
		k := &kicker{due: make(chan edition.Holder, 10)}
		var d *door
		v := newDevice()
		d = openIdle(t, func(o *Options) {
			o.Store, o.Registrar = st, &registrar{Store: st}
			o.Hub = hub.New(hub.Options{Store: st, Kick: k})
			o.Wakeable = func(edition.Routes) bool {
				if rs, _ := st.Pending(nil, edition.Direct, v.UAID); len(rs) == 0 {
					d.deliver(v.Key, 7)
				}
				return true
			}
		})
		d.register(v, edition.Direct)
		c := d.connect()
		c.hello(v)
		c.setKick(v, `{"driver":"udp"}`)
		// Either it is sent on the connection that stays, or a kick is due.
		select {
		case party := <-k.due:
			if party.UAID != v.UAID {
				t.Error("due:", party)
			}
		case m := <-c.in:
			if len(m.Updates) != 1 {
				t.Errorf("%+v", m)
			}
		case <-time.After(10 * time.Minute):
			t.Error("the event is forgotten")
		}
		c.ws.Close()
		d.close()
	})
}

// stops notes whose kicks have had their effect.
type stops struct {
	kicker
	who chan edition.Holder
}

func (k *stops) Stop(party edition.Holder) { k.who <- party }

// A poll that does not wait shows that a kick had its effect, where the device
// can be kicked, and leaves a connection alone; what it leaves pending is due.
func TestAShortPollAnswersAKick(t *testing.T) {
	st := mem.New(mem.Options{})
	k := &stops{kicker{due: make(chan edition.Holder, 10)}, make(chan edition.Holder, 10)}
	d := open(t, func(o *Options) {
		o.Store, o.Registrar = st, &registrar{Store: st}
		o.Hub = hub.New(hub.Options{Store: st, Kick: k})
	})
	v, mute := d.registered(edition.Direct), d.registered(edition.Direct)
	d.post(wire.PathKick, wire.RegisterRequest{UAID: &v.UAID, Secret: v.secret, Kick: json.RawMessage(`{"driver":"udp"}`)})
	d.deliver(v.Key, 1)
	if party := <-k.due; party.UAID != v.UAID {
		t.Error("due:", party)
	}
	for _, one := range []device{v, mute} {
		if status, body := d.post(wire.PathUpdate, wire.UpdateRequest{Agents: []wire.Agent{one.claim()}}); status >= 400 {
			t.Error(status, body)
		}
	}
	if party := <-k.who; party.UAID != v.UAID || len(k.who) != 0 {
		t.Error("stopped:", party, len(k.who))
	}
	if party := <-k.due; party.UAID != v.UAID || len(k.due) != 0 {
		t.Error("due:", party, len(k.due))
	}
	c := d.connect()
	c.hello(v)
	c.update(v.Key, 1)
	<-k.who
	if status, body := d.post(wire.PathUpdate, wire.UpdateRequest{Agents: []wire.Agent{v.claim()}}); status != 200 || len(k.who) != 0 {
		t.Error(status, body)
	}
	c.barrier() // still there
}
