package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// Wake says that the device was woken: by a push message, an SMS, whatever its
// routes are. A sleeping device looks at upstream, one that upstream has sent to
// sleep connects; both do so at once, and once a second when they are woken
// often. confirm is the code that the kick carried, or empty: it is repeated to
// upstream, so that upstream goes on using that route. Wake does not block.
func (d *Device) Wake(confirm string) {
	if confirm != "" {
		d.mu.Lock()
		if !slices.Contains(d.codes, confirm) {
			d.codes = append(d.codes, confirm)
		}
		if n := len(d.codes); n > edition.MaxRoutes {
			d.codes = d.codes[n-edition.MaxRoutes:]
		}
		d.mu.Unlock()
		if !d.sleeps() {
			ring(d.sign)
		}
	}
	ring(d.woken)
	d.client.Wake()
}

// SetKick changes what the device tells about how it can be woken: an object
// such as {"driver":"fcm","token":"…"}, or a list of them, or nil for nothing.
// Upstream learns of it at the next connection, which a sleeping device makes
// at once. edition.ErrMalformed says that it is neither.
func (d *Device) SetKick(kick json.RawMessage) error {
	list, err := kickList(kick)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.kicks = list
	d.mu.Unlock()
	ring(d.sign)
	return nil
}

// kickList splits what may be one kick, a list of them, or nothing.
func kickList(kick json.RawMessage) (list []json.RawMessage, err error) {
	kick = bytes.TrimSpace(kick)
	switch {
	case len(kick) == 0 || string(kick) == "null":
		return nil, nil
	case kick[0] == '[':
		err = json.Unmarshal(kick, &list)
	default:
		list = []json.RawMessage{kick}
	}
	for _, k := range list {
		if err == nil {
			err = json.Unmarshal(k, new(map[string]any))
		}
	}
	if err != nil {
		return nil, fmt.Errorf(`%w: a kick is an object such as {"driver":"fcm",…}, or a list of them: %w`, edition.ErrMalformed, err)
	}
	return slices.Clip(list), nil
}

// kick is what the device tells about how it can be woken, nil for nothing. The
// route of its own socket comes first. Many have no other, and tell it bare.
func (d *Device) kick(ctx context.Context, local net.Addr) (json.RawMessage, error) {
	d.mu.Lock()
	list := d.kicks
	d.mu.Unlock()
	if local != nil {
		own, err := d.ownRoute(ctx, local)
		if err != nil {
			return nil, err
		}
		list = append([]json.RawMessage{own}, list...)
	}
	switch len(list) {
	case 0:
		return nil, nil
	case 1:
		return list[0], nil
	}
	return json.Marshal(list)
}

// ownRoute is the kick object of the device's own socket.
func (d *Device) ownRoute(ctx context.Context, local net.Addr) (json.RawMessage, error) {
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrListen, err)
	}
	ip := at.Addr().Unmap()
	if ip.IsUnspecified() {
		if ip, err = d.client.localAddr(ctx); err != nil {
			return nil, err
		}
	}
	kick := map[string]any{"ip": ip.WithZone("").String(), "port": at.Port(), "proto": "udp"}
	maps.Copy(kick, d.cfg.Route)
	return json.Marshal(kick)
}

// hear wakes the device for every datagram until ctx ends. What a datagram says
// is shown to OnWake; a code at its end is repeated to upstream if upstream waits
// for one, and it means nothing otherwise.
func (d *Device) hear(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // nothing was written
	defer stop()
	defer conn.Close() //nolint:errcheck // nothing was written
	var buf [512]byte  // the rest of a datagram is dropped
	for {
		n, _, err := conn.ReadFrom(buf[:])
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", edition.ErrListen, err)
		}
		payload := string(buf[:n])
		if d.cfg.OnWake != nil {
			d.cfg.OnWake(payload)
		}
		d.Wake(codeIn(payload))
	}
}

// codeIn returns the code at the end of a datagram's text, or "".
func codeIn(payload string) string {
	i := strings.LastIndexByte(payload, ' ')
	code := payload[i+1:]
	if i < 0 || len(code) != 8 {
		return ""
	}
	for _, c := range []byte(code) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return ""
		}
	}
	return code
}

// tell notes that upstream has taken a kick, and the drivers whose routes now
// wait for a code. Codes that nobody waits for are forgotten.
func (d *Device) tell(kick json.RawMessage, confirming []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told, d.confirming = string(kick), len(confirming) > 0
	if !d.confirming {
		d.codes = nil
	}
}

// confirm repeats the codes that came in kicks, while upstream waits for some.
func (d *Device) confirm(ctx context.Context) error {
	for {
		d.mu.Lock()
		if !d.confirming || len(d.codes) == 0 {
			d.mu.Unlock()
			return nil
		}
		code := d.codes[0]
		d.mu.Unlock()
		left, err := d.client.kick(ctx, &d.who, &wire.Message{Confirm: code})
		wrong := ReasonOf(err) == ReasonRefused && errors.Is(err, edition.ErrForbidden)
		if err != nil && !wrong {
			return fmt.Errorf("confirm: %w", err)
		}
		d.mu.Lock()
		d.codes = slices.DeleteFunc(d.codes, func(c string) bool { return c == code })
		if err == nil {
			d.confirming = len(left) > 0
		}
		d.mu.Unlock()
		if wrong {
			d.cfg.Log.Debug("a code was not what upstream waits for", "uaid", d.who.UAID)
		}
	}
}

// ask has the codes sent again that have not come.
func (d *Device) ask() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.confirming {
		d.told = untold
	}
}

func (d *Device) waitsForCode() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.confirming
}

// untold, as what upstream was told, is no kick: the kick is told anew.
const untold = "-"

// gone notes which of its routes upstream has given up: it is told anew how the
// device can be woken.
func (d *Device) gone(list []wire.Gone) {
	for _, g := range list {
		if g.UAID == nil || *g.UAID != d.who.UAID {
			continue
		}
		d.cfg.Log.Info("upstream cannot wake this device by a route any more", "uaid", d.who.UAID, "drivers", g.Drivers)
		if d.cfg.OnRouteGone != nil {
			d.cfg.OnRouteGone(g.Drivers)
		}
		d.mu.Lock()
		if d.told != "" { // else it is to be told anyway, or knows no route
			d.told = untold
		}
		d.mu.Unlock()
		ring(d.sign)
	}
}

// sleeps reports whether the device is connected only while it looks.
func (d *Device) sleeps() bool { return d.cfg.Sleep || d.cfg.UDP != "" && !d.cfg.Stay }

// Looks at upstream, and attempts to connect that Wake asks for: wakeBurst may
// follow each other at once, then one a wakeGap.
const (
	wakeGap   = time.Second
	wakeBurst = 3
)

// pacer is a token bucket of looks.
type pacer struct {
	looks float64 // that may follow at once
	last  time.Time
}

// wait takes a look off, and returns how long the next one has to wait.
func (p *pacer) wait(now time.Time) time.Duration {
	if p.last.IsZero() {
		p.looks = wakeBurst
	} else {
		p.looks = min(wakeBurst, p.looks+now.Sub(p.last).Seconds()/wakeGap.Seconds())
	}
	p.last = now
	p.looks--
	return max(0, time.Duration((1-p.looks)*float64(wakeGap)))
}
