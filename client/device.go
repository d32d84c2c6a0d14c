package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// DefaultSafety is how often a sleeping device looks by itself.
const DefaultSafety = 15 * time.Minute

// DeviceConfig is the configuration of a Device. Of Config it uses what is
// about the way to upstream; Agents, Relay, StoreID, Custody and the functions
// are the Device's own.
type DeviceConfig struct {
	Config
	// State is the path of the state file; it is made if it is not there.
	State string

	// UDP is a local address, such as ":4000", to be woken at. With it the
	// device sleeps: it connects only when a datagram comes, and every
	// Safety. The datagram's content means nothing but for a code to be
	// confirmed, and datagrams that come faster than one a second wake it once
	// a second after a few.
	UDP string
	// Sleep has a device without UDP sleep: Device.Wake is called when it is
	// woken.
	Sleep bool
	// Stay has a device with UDP stay connected until upstream sends it to
	// sleep. So does one without UDP and Sleep; it is woken by Device.Wake.
	Stay bool
	// Route is what the device tells about how to wake it beyond the ip,
	// port and proto of UDP, such as "driver" or "netid"; its own "ip" and
	// "port" win, for a device behind an address translation.
	Route map[string]any
	// Kick is what the device tells of other ways to wake it: an object such
	// as {"driver":"fcm","token":"…"}, or a list of them in the order in which
	// they are to be tried, after UDP. See Device.SetKick.
	Kick json.RawMessage
	// OnRouteGone, if not nil, is called with the drivers whose routes upstream
	// has found not to work any more: the token that a push service has
	// withdrawn, say. All routes are then told anew, so SetKick may be called
	// in it. It must not block.
	OnRouteGone func(drivers []string)
	// OnWake, if not nil, is called with each datagram's content, for
	// transcripts and logs. It must not block.
	OnWake func(payload string)
	// Safety is the longest sleep; 0 means DefaultSafety.
	Safety time.Duration
}

// App is one app on a device. Both functions are called on one goroutine, one
// at a time for the whole device, and may call the Device's methods. A panic
// in one is logged and otherwise ignored.
type App struct {
	// Name identifies the app in the state file.
	Name string
	// Key, if not nil, is the only VAPID key whose holder may send to the app's
	// endpoint (RFC 8292 §4): an uncompressed point on P-256, 65 bytes. Another
	// key makes another endpoint.
	Key []byte
	// OnEndpoint is called with the app's endpoint after Run has begun, and
	// again when it has changed.
	OnEndpoint func(endpoint string)
	// OnVersion is called with strictly rising versions, across restarts
	// too. The state file is written, and the version acknowledged, after
	// it returns: a crash in between has it called again.
	OnVersion func(edition.Version)
	// OnMessage, if not nil, is called with what carries a body, in place of
	// OnVersion: messages, and versions that carry something. Of one slot (a
	// topic, the app's own versions) the versions rise strictly; messages
	// stand in no order beyond that. A message is acknowledged after it
	// returns, and may come again when the device is restarted just then: the
	// state file does not remember messages. b must not be modified.
	OnMessage func(v edition.Version, b *edition.Body)
}

// AppInfo is what the state file knows of an app.
type AppInfo struct {
	Name     string
	AppID    edition.AppID
	Endpoint string           // empty until it is registered
	Version  *edition.Version // the last that OnVersion was called with, or nil
}

// Device keeps a device's apps registered and calls them. Make one with
// OpenDevice and call Run; the other methods may be called before and during.
//
// A device that upstream does not know (any more) registers its apps again by
// itself. An event for an app that the state file does not know withdraws that
// app's endpoint, so that its app server learns of it.
type Device struct {
	// Fixed after construction.
	cfg    DeviceConfig
	client *Client
	who    wire.Agent

	work  chan struct{} // doorbell of the goroutine that calls the apps
	sign  chan struct{} // doorbell of the one that registers
	woken chan struct{} // doorbell of the one that sleeps

	mu       sync.Mutex
	state    *state                  // Guarded by mu
	unsaved  bool                    // Guarded by mu; state is ahead of its file
	apps     map[edition.AppID]*App  // Guarded by mu; with callbacks
	due      map[edition.AppID]bool  // Guarded by mu; to be registered (again)
	announce map[edition.AppID]bool  // Guarded by mu; OnEndpoint is to be called
	strays   map[edition.AppID]bool  // Guarded by mu; unknown apps to be unregistered
	todo     map[edition.Key]arrival // Guarded by mu; taken and not yet acked
	dones    []func()                // Guarded by mu; of the UPDATEs in todo
	settling []chan struct{}         // Guarded by mu; see Settle
	kicks    []json.RawMessage       // Guarded by mu; see SetKick
	told     string                  // Guarded by mu; the kick that upstream knows from this process
	codes    []string                // Guarded by mu; that came in kicks and are to be confirmed

	confirming bool            // Guarded by mu; upstream waits for codes
	urgency    edition.Urgency // Guarded by mu; see SetUrgency

	asking sync.Mutex // held while upstream is told what is wanted

	seen seen // Owned by the goroutine that calls the apps.
}

// arrival is what has come for one key.
type arrival struct {
	version edition.Version
	body    *edition.Body // what it carries, or nil
}

// OpenDevice reads the state file, or makes it, with a new UAID and secret.
// Errors are edition.ErrConfig and, for a file that cannot be used and has been
// left as it was, edition.ErrDamaged.
func OpenDevice(cfg DeviceConfig) (*Device, error) {
	if cfg.State == "" {
		return nil, fmt.Errorf("%w: a device needs a state file", edition.ErrConfig)
	}
	if cfg.Safety <= 0 {
		cfg.Safety = DefaultSafety
	}
	kicks, err := kickList(cfg.Kick)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, err)
	}
	s, err := loadState(cfg.State)
	if err != nil {
		return nil, err
	}
	d := &Device{
		state: s, who: wire.Agent{UAID: s.UAID, Secret: s.Secret},
		work: make(chan struct{}, 1), sign: make(chan struct{}, 1), woken: make(chan struct{}, 1), kicks: kicks,
		apps: make(map[edition.AppID]*App), due: make(map[edition.AppID]bool),
		announce: make(map[edition.AppID]bool), strays: make(map[edition.AppID]bool),
		todo:    make(map[edition.Key]arrival),
		urgency: cfg.Urgency,
	}
	cfg.Agents, cfg.Relay, cfg.StoreID, cfg.Custody, cfg.Bodies = []wire.Agent{d.who}, "", "", "", false
	cfg.Update, cfg.Refused, cfg.Gone, cfg.Wake = d.take, d.refused, d.gone, nil
	cfg.Connected = func() {
		if !d.sleeps() {
			ring(d.sign)
		}
	}
	cfg.safety = cfg.Safety
	if d.client, err = New(cfg.Config); err != nil {
		return nil, err
	}
	d.cfg = cfg
	d.cfg.Log = d.client.cfg.Log
	if s.URL != cfg.URL { // endpoints of another upstream are not ours
		s.URL = cfg.URL
		for _, a := range s.Apps {
			a.Endpoint = ""
		}
	}
	for _, a := range s.Apps {
		d.due[a.AppID] = true
	}
	if err := s.save(cfg.State); err != nil {
		return nil, fmt.Errorf("%w: state file: %w", edition.ErrConfig, err)
	}
	return d, nil
}

// UAID identifies the device.
func (d *Device) UAID() edition.UAID { return d.who.UAID }

// Connection is how the device is connected.
func (d *Device) Connection() State { return d.client.State() }

// Apps lists the apps of the state file, in the order they were registered.
func (d *Device) Apps() []AppInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []AppInfo
	for _, a := range d.state.Apps {
		if !a.Leaving {
			list = append(list, AppInfo{Name: a.Name, AppID: a.AppID, Endpoint: a.Endpoint, Version: a.Version})
		}
	}
	return list
}

// Endpoint returns the endpoint of the app with a name, empty until it is
// registered.
func (d *Device) Endpoint(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.state.named(name); a != nil {
		return a.Endpoint
	}
	return ""
}

// Register adds an app, or gives one that the state file knows its functions.
// It returns when the state file is written; the endpoint comes to OnEndpoint.
func (d *Device) Register(app App) error {
	defer d.want()
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.state.named(app.Name)
	if a == nil {
		a = &appState{Name: app.Name, AppID: edition.NewAppID(), Key: app.Key}
		d.state.Apps = append(d.state.Apps, a)
		if err := d.save(); err != nil {
			d.state.Apps = d.state.Apps[:len(d.state.Apps)-1]
			return err
		}
		d.due[a.AppID] = true
	} else if !bytes.Equal(a.Key, app.Key) {
		old := *a
		a.Key, a.Endpoint = app.Key, ""
		if err := d.save(); err != nil {
			*a = old
			return err
		}
		d.due[a.AppID] = true
	}
	d.apps[a.AppID] = &app
	d.announce[a.AppID] = true
	ring(d.work)
	ring(d.sign)
	return nil
}

// Unregister removes the app with a name. Upstream is told now or when it is
// there again. It returns when the state file is written.
func (d *Device) Unregister(name string) error {
	defer d.want()
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.state.named(name)
	if a == nil {
		return fmt.Errorf("%w: no app %q", edition.ErrNotFound, name)
	}
	a.Leaving = true
	if err := d.save(); err != nil {
		a.Leaving = false
		return err
	}
	delete(d.apps, a.AppID)
	delete(d.due, a.AppID)
	ring(d.sign)
	return nil
}

// save writes the state file. Callers hold mu.
func (d *Device) save() error {
	if err := d.state.save(d.cfg.State); err != nil {
		return fmt.Errorf("%w: state file: %w", edition.ErrUnavailable, err)
	}
	d.unsaved = false
	return nil
}

// refused notes that upstream does not know the device.
func (d *Device) refused(list []edition.UAID) {
	if !slices.Contains(list, d.who.UAID) {
		return
	}
	d.mu.Lock()
	for _, a := range d.state.Apps {
		d.due[a.AppID] = !a.Leaving
	}
	d.mu.Unlock()
	ring(d.sign)
}

// take is the connection's handler: it only notes what came.
func (d *Device) take(u edition.Update, bodies []*edition.Body, done func()) {
	d.mu.Lock()
	for i, e := range u {
		if e.UAID != d.who.UAID {
			d.cfg.Metrics.fault(errForeign)
			continue
		}
		a := arrival{version: e.Version}
		if bodies != nil {
			a.body = bodies[i]
		}
		d.note(e.Key, a)
	}
	d.dones = append(d.dones, done)
	d.mu.Unlock()
	ring(d.work)
}

// note keeps the greatest version of a key. The caller holds mu.
func (d *Device) note(k edition.Key, a arrival) {
	if old, there := d.todo[k]; !there || old.version <= a.version {
		d.todo[k] = a
	}
}

var errForeign = fault(ReasonProtocol, "upstream sent an event for another device")

// permanent reports whether trying again does not help: upstream has said no.
func permanent(err error) bool {
	return ReasonOf(err) == ReasonRefused && !errors.Is(err, edition.ErrUnavailable) &&
		!errors.Is(err, edition.ErrTooMany)
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
