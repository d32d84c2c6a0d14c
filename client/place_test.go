package client

import (
	"net/http"
	"sync"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// place is an upstream for one device, with a memory: registrations and what
// waits for them, by WebSocket and by polling.
type place struct {
	t *testing.T

	mu       sync.Mutex
	known    map[edition.AppID]bool // Guarded by mu, as all
	wait     map[edition.AppID]edition.Version
	acked    map[edition.AppID]edition.Version
	asked    []wire.RegisterRequest
	kicks    []string
	failures []error // of the next registrations
	peers    []*peer
	uaid     edition.UAID
	code     string   // that a kick's route waits for; empty: none needs one
	open     bool     // a route waits for the code
	gone     []string // drivers whose routes are gone
	codes    []string // that were repeated
}

func newPlace(t *testing.T) (*place, *upstream) {
	p := &place{
		t: t, known: map[edition.AppID]bool{}, wait: map[edition.AppID]edition.Version{}, acked: map[edition.AppID]edition.Version{},
	}
	return p, &upstream{ws: p.socket, api: map[string]func(http.ResponseWriter, []byte) any{
		wire.PathRegister: p.register, wire.PathUnregister: p.unregister, wire.PathKick: p.kick,
		wire.PathUpdate: p.update, wire.PathAck: p.ack,
	}}
}

func (p *place) enrol(q wire.RegisterRequest) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, q)
	if len(p.failures) > 0 {
		err := p.failures[0]
		p.failures = p.failures[1:]
		return "", err
	}
	p.uaid = *q.UAID
	p.known[*q.AppID] = true
	if q.Kick != nil {
		p.told()
	}
	return "http://push.test/" + q.AppID.String(), nil
}

func (p *place) register(w http.ResponseWriter, body []byte) any {
	q := decode[wire.RegisterRequest](p.t, body)
	endpoint, err := p.enrol(q)
	if err != nil {
		wire.WriteProblem(w, err)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return wire.RegisterResponse{UAID: *q.UAID, AppID: *q.AppID, Endpoint: endpoint, Confirming: p.confirming()}
}

// told notes a new kick.
func (p *place) told() {
	p.gone, p.open = nil, p.code != ""
}

func (p *place) confirming() []string {
	if p.open {
		return []string{"sms"}
	}
	return nil
}

// goneNow is what a hello or a poll tells.
func (p *place) goneNow() []wire.Gone {
	if len(p.gone) == 0 {
		return nil
	}
	return []wire.Gone{{UAID: &p.uaid, Drivers: p.gone}}
}

// set takes a kick or a code.
func (p *place) set(q *wire.RegisterRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.Confirm != "" {
		p.codes = append(p.codes, q.Confirm)
		if q.Confirm != p.code || !p.open {
			return edition.ErrForbidden
		}
		p.open = false
		return nil
	}
	p.kicks = append(p.kicks, string(q.Kick))
	p.told()
	return nil
}

func (p *place) unregister(_ http.ResponseWriter, body []byte) any {
	p.forget(*decode[wire.RegisterRequest](p.t, body).AppID)
	return nil
}

func (p *place) forget(app edition.AppID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, app)
	delete(p.wait, app)
}

func (p *place) kick(w http.ResponseWriter, body []byte) any {
	q := decode[wire.RegisterRequest](p.t, body)
	if err := p.set(&q); err != nil {
		wire.WriteProblem(w, err)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		return wire.KickResponse{Confirming: p.confirming()}
	}
	return nil
}

func (p *place) pending() (u edition.Update) {
	for app, v := range p.wait {
		u = append(u, edition.Event{Key: edition.Key{UAID: p.uaid, AppID: app}, Version: v})
	}
	return u.Normalize()
}

func (p *place) clear(u edition.Update) {
	for _, e := range u {
		p.acked[e.AppID] = e.Version
		if v, ok := p.wait[e.AppID]; ok && v <= e.Version {
			delete(p.wait, e.AppID)
		}
	}
}

func (p *place) update(w http.ResponseWriter, body []byte) any {
	q := decode[wire.UpdateRequest](p.t, body)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) == 0 {
		wire.WriteProblem(w, edition.ErrUnauthorized)
		return nil
	}
	p.clear(edition.Update(q.Ack))
	if u, gone := p.pending(), p.goneNow(); len(u) > 0 || len(gone) > 0 {
		return wire.UpdateResponse{Updates: wire.Updates(u), Gone: gone}
	}
	return nil
}

func (p *place) ack(_ http.ResponseWriter, body []byte) any {
	q := decode[wire.AckRequest](p.t, body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear(edition.Update(q.Updates))
	return nil
}

func (p *place) socket(c *peer) {
	m, ok := c.read()
	if !ok {
		return
	}
	p.mu.Lock()
	var refused []edition.UAID
	if len(p.known) == 0 {
		refused = append(refused, m.Agents[0].UAID)
	}
	hello := helloAnswer(m, refused...)
	hello.Gone = p.goneNow()
	c.send(hello)
	p.peers = append(p.peers, c)
	if u := p.pending(); len(u) > 0 {
		c.update(1, u)
	}
	p.mu.Unlock()
	for {
		m, ok := c.read()
		if !ok {
			return
		}
		switch m.Type {
		case wire.TypeRegister:
			endpoint, err := p.enrol(wire.RegisterRequest{UAID: m.UAID, AppID: m.AppID, Secret: m.Secret, Kick: m.Kick})
			a := wire.Message{Type: wire.TypeRegister, Status: 201, UAID: m.UAID, AppID: m.AppID, Endpoint: endpoint}
			p.mu.Lock()
			a.Confirming = p.confirming()
			p.mu.Unlock()
			if err != nil {
				a = wire.ErrorMessage(err, wire.TypeRegister)
			}
			c.send(a)
		case wire.TypeKick:
			a := wire.Message{Type: wire.TypeKick, Status: 200, UAID: m.UAID}
			if err := p.set(&wire.RegisterRequest{Kick: m.Kick, Confirm: m.Confirm}); err != nil {
				a = wire.ErrorMessage(err, wire.TypeKick)
			}
			p.mu.Lock()
			a.Confirming = p.confirming()
			p.mu.Unlock()
			c.send(a)
		case wire.TypeUnregister:
			p.forget(*m.AppID)
			c.send(wire.Message{Type: wire.TypeUnregister, Status: 200, UAID: m.UAID, AppID: m.AppID})
		case wire.TypeAck:
			p.mu.Lock()
			p.clear(edition.Update(m.Updates))
			p.mu.Unlock()
		}
	}
}

// put makes a version pending and sends it to who is connected.
func (p *place) put(app edition.AppID, v edition.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait[app] = v
	if n := len(p.peers); n > 0 {
		p.peers[n-1].update(9, p.pending())
	}
}

func (p *place) isAcked(app edition.AppID, v edition.Version) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked[app] == v
}

// has locks p for a look.
func (p *place) has(look func() bool) func() bool {
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return look()
	}
}

// idle closes the newest connection as idle.
func (p *place) idle() {
	p.mu.Lock()
	c := p.peers[len(p.peers)-1]
	p.mu.Unlock()
	c.sendClose(wire.CloseIdle, "server will wake you")
}
