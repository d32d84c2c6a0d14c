package session

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
	// Take handles one text message. It is called in order, and may block as
	// long as a registration takes.
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

// talks reports whether a request to open a WebSocket is one for Options.Talk.
func (s *Server) talks(r *http.Request) bool {
	if s.talk == nil {
		return false
	}
	asked := websocket.Subprotocols(r)
	for _, p := range asked {
		switch p {
		case wire.Subprotocol:
			return false
		case wire.SubprotocolSimplePush:
			return true
		}
	}
	return len(asked) == 0 && r.URL.Path == wire.PathRoot
}

// listenTo handles one message of a device that has a Talk.
func (c *conn) listenTo(message []byte) {
	if c.allow() {
		c.talk.Take(message)
	}
}

// Remote is who is connected, without port, for logs.
func (d *Device) Remote() string { return remote(d.c.net.RemoteAddr()).String() }

// Clock is a coarse time, for intervals.
func (d *Device) Clock() time.Duration { return d.c.s.clock() }

// Do runs f, which may wait for a registration, with a context that bounds it.
func (d *Device) Do(f func(ctx context.Context)) { d.c.work(f) }

// Note counts a message by its type.
func (d *Device) Note(kind string) { d.c.s.m.message(kind) }

// Claim proves a device by its UAID, which its protocol takes for a secret, and
// brings it here, from behind a relay or from upstream. known is false when
// nobody knows it. ErrUnauthorized: the UAID is that of a device with a secret.
func (d *Device) Claim(ctx context.Context, uaid edition.UAID) (known bool, err error) {
	s, by, proof := d.c.s, d.c.caller(), edition.ProofOfUAID(uaid)
	agent, err := s.prove(by, uaid, &proof, false)
	var a admitted
	switch {
	case err == nil:
		err = s.bind(ctx, by, []edition.Agent{agent}, &a)
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
// endpoint. key, if not nil, is the only VAPID key that may send to it: an
// uncompressed point on P-256.
func (d *Device) Register(ctx context.Context, uaid edition.UAID, app edition.AppID, key []byte) (endpoint string, err error) {
	s, by, proof := d.c.s, d.c.caller(), edition.ProofOfUAID(uaid)
	if err := s.rates.take(s.clock(), by.from); err != nil {
		s.m.refuse(reasonRate)
		return "", err
	}
	if _, err := s.prove(by, uaid, &proof, false); err != nil && !errors.Is(err, edition.ErrNotFound) {
		return "", s.unproven(err)
	}
	return s.registrar.Register(ctx, edition.Registration{
		Key: edition.Key{UAID: uaid, AppID: app}, Proof: proof, AppKey: key,
	})
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

// Wakes registers how the device is woken: a kick of edition.v1, or null. size
// is that of the device's message. The device must have registered an app.
func (d *Device) Wakes(ctx context.Context, uaid edition.UAID, kick json.RawMessage, size int) error {
	routes, err := d.c.s.check(d.c.caller(), kick, size)
	if err != nil {
		return err
	}
	return d.c.s.store.ChangeRoutes(ctx, edition.Holder{UAID: uaid}, routes.Over)
}

// Wakeable reports whether the device can be woken so surely that it need not
// stay connected.
func (d *Device) Wakeable(uaid edition.UAID) bool {
	s := d.c.s
	routes, err := s.store.Routes(edition.Holder{UAID: uaid})
	return err == nil && routes.Usable() && s.wakeable != nil && s.wakeable(routes)
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

// Ack acknowledges events by their own keys: exactly these versions.
func (d *Device) Ack(u edition.Update) {
	c := d.c
	own := u[:0]
	for _, e := range u {
		if c.holds(e.UAID) {
			own = append(own, e)
		}
	}
	if own = own.Normalize(); len(own) > 0 {
		c.apply(edition.Direct, own, edition.AckDelivered, wire.TypeAck)
	}
}

// AckApp acknowledges what is in flight for an app at a version: that of the
// app itself, and messages.
func (d *Device) AckApp(uaid edition.UAID, app edition.AppID, v edition.Version) {
	if u := d.inFlight(uaid, app, v); len(u) > 0 {
		d.Ack(u)
	}
}

func (d *Device) inFlight(uaid edition.UAID, app edition.AppID, v edition.Version) (u edition.Update) {
	c := d.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.board.flights {
		for _, e := range f.of(uaid) {
			b := f.bodies[e.Key]
			if e.Version == v && (e.AppID == app || b != nil && b.AppID == app) {
				u = append(u, e)
			}
		}
	}
	return u
}

// Send writes text messages, in order, without waiting.
func (d *Device) Send(messages ...[]byte) {
	frames := make([]*frame, len(messages))
	for i, m := range messages {
		frames[i] = newFrame()
		frames[i].b = append(frames[i].b, m...)
	}
	d.c.postAll(websocket.TextMessage, frames)
}

// Close ends the connection with a close code of RFC 6455 §7.4, after what was
// sent.
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
