package session

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Talk is another protocol than edition.v1 on the connection of one device: a
// translator. It says what the device says by calling its Device, which does
// all that is not translation: attaching, looking up, sending again, limits,
// pings of the WebSocket, drain.
type Talk interface {
	// Take handles one text message, which it must not keep. It is called in
	// order, and may block as long as a registration takes; not after Close.
	Take(message []byte)
	// Update tells the device of events, in order, and of what they carry:
	// bodies is nil, or has a place for each event. An event in a slot (see
	// edition.AppID.IsSlot) always has a body, which says for which app. It
	// is called by one goroutine at a time, beside Take, and must not block:
	// Device.Send does not. What is not acknowledged comes again.
	Update(u edition.Update, bodies []*edition.Body)
}

// Device is a connection as a Talk sees it: one device, which is its UAID, once
// Hold was called. Its methods may be called at once from many goroutines.
type Device struct{ c *conn }

// talks reports whether a device's connection is one for Options.Talk.
func (s *Server) talks(r *http.Request, ws *websocket.Conn) bool {
	switch {
	case s.talk == nil:
		return false
	case ws.Subprotocol() == wire.SubprotocolSimplePush:
		return true
	}
	return ws.Subprotocol() == "" && r.URL.Path == wire.PathRoot
}

// listenTo has the Talk take a message. It is false when the message turns out
// to be one of edition.v1.
func (c *conn) listenTo(message []byte) bool {
	c.talk.Take(message)
	return c.talk != nil
}

// Remote is the address that the device connects from.
func (d *Device) Remote() netip.Addr { return remote(d.c.net.RemoteAddr()) }

// Log is the server's.
func (d *Device) Log() *slog.Logger { return d.c.s.log }

// Note counts a message by its type, and takes it off what a device may send:
// false ends the connection. An ack is not taken off before it turns out that
// it says nothing, see Ack. All but a ping keeps the device from being idle.
func (d *Device) Note(kind string) bool {
	d.c.s.m.message(kind)
	if kind != wire.TypePing {
		d.c.stir()
	}
	return kind == wire.TypeAck || d.c.allow()
}

// Named reports whether the connection asked for its protocol by name, in its
// subprotocol.
func (d *Device) Named() bool { return d.c.ws.Subprotocol() != "" }

// Decline gives a connection that asked for no subprotocol back, from within
// the first Take: that message, and what follows, is taken as one of
// edition.v1. It is false for others, which nothing happens to.
func (d *Device) Decline() bool {
	if d.Named() {
		return false
	}
	d.c.talk, d.c.bodies = nil, false
	return true
}

// Do runs f, which may wait for a registration, with a context that bounds it.
func (d *Device) Do(f func(ctx context.Context)) { d.c.work(f) }

// Claim proves a device by its UAID, which its protocol takes for a secret, and
// brings it here, from behind a relay or from upstream. known is false when
// nobody knows it. ErrUnauthorized: the UAID is that of a device with a secret.
func (d *Device) Claim(ctx context.Context, uaid edition.UAID) (known bool, err error) {
	s, by, proof := d.c.s, d.c.caller(), edition.ProofOfUAID(uaid)
	agent, err := s.prove(by, uaid, &proof, false)
	var a admitted
	switch {
	case err == nil:
		err = s.bind(ctx, by, []edition.Agent{agent}, []time.Time{time.Now()}, &a)
	case errors.Is(err, edition.ErrNotFound):
		err = s.claim(ctx, by, []edition.Credential{{UAID: uaid, Proof: proof}}, &a)
	}
	return len(a.uaids) > 0, err
}

// Hold makes the connection the device's: an older one is closed, what is
// pending comes after answer has been called.
func (d *Device) Hold(uaid edition.UAID, answer func()) {
	c := d.c
	c.greet()
	paused := c.pause()
	defer c.resume(paused)
	if c.holds(uaid) {
		c.again()
	} else {
		c.hold([]edition.UAID{uaid})
	}
	answer()
}

// again has everything looked up and sent again, also what is in flight.
func (c *conn) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.board.flights {
		if f.made {
			f.due = 0
		}
	}
	c.board.expire(c.s.clock())
	for _, uaid := range c.board.all() {
		c.board.ring(uaid)
	}
}

// Register registers an app of the device that is held, and returns its
// endpoint: for the same key the same one. The proof and the owner are filled
// in.
func (d *Device) Register(ctx context.Context, r edition.Registration) (endpoint string, err error) {
	s, by := d.c.s, d.c.caller()
	defer func() { s.m.registered(err) }()
	r.Proof, r.Owner = edition.ProofOfUAID(r.UAID), by.owner
	if err := s.rates.take(s.clock(), by.from); err != nil {
		s.m.refuse(reasonRate)
		return "", err
	}
	if _, err := s.prove(by, r.UAID, &r.Proof, false); err != nil && !errors.Is(err, edition.ErrNotFound) {
		return "", s.unproven(err)
	}
	return s.registrar.Register(ctx, r)
}

// Unregister withdraws an endpoint. An unknown one is no error.
func (d *Device) Unregister(ctx context.Context, uaid edition.UAID, app edition.AppID) error {
	proof := edition.ProofOfUAID(uaid)
	_, err := d.c.s.prove(d.c.caller(), uaid, &proof, false)
	if errors.Is(err, edition.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.c.s.registrar.Unregister(ctx, edition.Key{UAID: uaid, AppID: app})
}

// Routes turns what a device says about how to wake it, which is the kick of
// edition.v1, into routes, as far as the operator allows them. size is that of
// the device's message.
func (d *Device) Routes(kick json.RawMessage, size int) (edition.Routes, error) {
	return d.c.s.check(d.c.caller(), kick, size)
}

// Wakes registers the routes of a device that has registered an app, in place
// of those there were.
func (d *Device) Wakes(ctx context.Context, uaid edition.UAID, routes edition.Routes) error {
	who := edition.Holder{UAID: uaid}
	if len(routes) == 0 && !d.c.s.store.Kickable(who) {
		return nil
	}
	return d.c.s.store.ChangeRoutes(ctx, who, routes.Over)
}

// Wakeable reports whether a device can be woken by routes so surely that it
// need not stay connected.
func (d *Device) Wakeable(routes edition.Routes) bool {
	return routes.Usable() && d.c.s.wakeable != nil && d.c.s.wakeable(routes)
}

// Pending returns how much is waiting for a device.
func (d *Device) Pending(uaid edition.UAID) (int, error) {
	u, err := d.c.s.store.Pending(nil, edition.Direct, uaid)
	return len(u), err
}

// Forget unregisters everything of a device.
func (d *Device) Forget(ctx context.Context, uaid edition.UAID) error {
	apps, err := d.c.s.store.Apps(uaid)
	if err != nil {
		return err
	}
	for _, app := range apps {
		if err := d.Unregister(ctx, uaid, app); err != nil {
			return err
		}
	}
	return nil
}

// Ack acknowledges events by their own keys: exactly these versions. An ack of
// nothing that is in flight is taken off what the device may send.
func (d *Device) Ack(u edition.Update) {
	c := d.c
	own := u[:0]
	for _, e := range u {
		if c.holds(e.UAID) {
			own = append(own, e)
		}
	}
	if n := len(u) - len(own); n > 0 {
		c.s.m.refuseN(reasonForeign, n)
	}
	if own = own.Normalize(); len(own) == 0 {
		c.allow()
		return
	}
	c.apply(edition.Direct, own, edition.AckDelivered, wire.TypeAck)
}

// AckApps is Ack for a device that knows no slots: each event names an app, and
// means the app's own version and the messages in flight for it that have this
// version.
func (d *Device) AckApps(u edition.Update) { d.Ack(d.c.withSlots(u)) }

// withSlots adds to an ack the messages in flight that it means.
func (c *conn) withSlots(acked edition.Update) edition.Update {
	out := acked
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.board.flights {
		if len(f.slots) == 0 {
			continue
		}
		for _, e := range f.events {
			app, ok := f.slots[e.Key]
			if ok && slices.Contains(acked, edition.Event{Key: edition.Key{UAID: e.UAID, AppID: app}, Version: e.Version}) {
				out = append(out, e)
			}
		}
	}
	return out
}

// Reply writes one text message from within Take. It waits for a device that is
// slow to read, so that nothing more is taken from it meanwhile.
func (d *Device) Reply(message []byte) {
	f := newFrame()
	defer f.free()
	f.b = append(f.b, message...)
	if err := d.c.send(websocket.TextMessage, f); err != nil {
		d.c.end(0, "", reasonWrite)
	}
}

// Send writes text messages from within Update, in order, without waiting.
func (d *Device) Send(messages ...[]byte) {
	frames := make([]*frame, len(messages))
	for i, m := range messages {
		frames[i] = newFrame()
		frames[i].b = append(frames[i].b, m...)
	}
	d.c.postAll(websocket.TextMessage, frames)
}

// Close ends the connection with a close code of RFC 6455 §7.4, after what Reply
// has written. No message is taken after it.
func (d *Device) Close(code int, text string) {
	d.c.end(code, text, reasonTalk)
}

// postAll is post for several frames, which stay in order.
func (c *conn) postAll(op int, frames []*frame) {
	if len(frames) == 1 {
		c.post(op, frames[0])
		return
	}
	if len(frames) == 0 {
		return
	}
	rest := frames
	if c.wmu.TryLock() {
		for len(rest) > 0 {
			left, err := c.begin(op, rest[0])
			if err != nil {
				c.wmu.Unlock()
				c.end(0, "", reasonWrite)
				return
			}
			if len(left) > 0 {
				c.s.conns.Go(func() { // the lock goes with it
					err := c.wait(left)
					for _, f := range rest[1:] {
						if err == nil {
							err = c.sendLocked(op, f)
						}
					}
					c.wmu.Unlock()
					if err != nil {
						c.end(0, "", reasonWrite)
					}
				})
				return
			}
			rest[0].free()
			rest = rest[1:]
		}
		c.wmu.Unlock()
		return
	}
	c.s.conns.Go(func() {
		for _, f := range rest {
			if c.send(op, f) != nil {
				c.end(0, "", reasonWrite)
				return
			}
			f.free()
		}
	})
}
