package client

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// poll is a connection over REST: one poll after the other. What is acked
// while an UPDATE is handled travels with the next poll of a device; every
// other ack gets a request of its own.
type poll struct {
	c        *Client
	answered bool // Owned by serve: upstream has answered a poll

	mu       sync.Mutex
	queue    [ackKinds]edition.Update // Guarded by mu
	answers  []wire.Woken             // Guarded by mu
	waiting  bool                     // Guarded by mu; a poll is out, nothing can travel with it
	asked    uint64                   // Guarded by mu; acks queued so far; what follows are counts of these
	left     uint64                   // Guarded by mu; none up to here is in queue
	carried  edition.Update           // Guarded by mu; acks that travel with the poll that is out
	lastPoll uint64                   // Guarded by mu; none up to here is in carried
	posting  bool                     // Guarded by mu; a request with acks is out
	lastPost uint64                   // Guarded by mu; none up to here is in that request
	posted   uint64                   // Guarded by mu; all up to here are taken by upstream
	barriers int                      // Guarded by mu; who waits in barrier
	progress chan struct{}            // Guarded by mu; closed and made anew when posted grows
	echoes   echoes                   // Guarded by mu
	handing  int                      // Guarded by mu; answers to a relay's polls that are being handed out

	bell  chan struct{} // doorbell of post
	again chan struct{} // doorbell: refused agents have registered
	ended chan struct{}
}

func newPoll(c *Client) *poll {
	return &poll{
		c: c, progress: make(chan struct{}),
		bell: make(chan struct{}, 1), again: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

const (
	pollAgain   = time.Second // least time between polls that brought nothing
	pollRefused = 15 * time.Second
)

// run lets f use p as the client's connection, to f's end.
func (p *poll) run(ctx context.Context, f func(context.Context) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	var posts sync.WaitGroup
	posts.Go(func() { p.post(ctx, fail) })
	defer posts.Wait()
	defer close(p.ended)
	defer fail(nil)
	err := f(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// serve polls until something fails, and returns what.
func (p *poll) serve(ctx context.Context) error { return p.run(ctx, p.loop) }

func (p *poll) loop(ctx context.Context) error {
	cfg := &p.c.cfg
	stuck := newRetry(cfg.RetryMax) // pauses while UPDATEs cannot be acked
	wait := time.Duration(0)        // the first poll says whether upstream is there
	for ctx.Err() == nil {
		start := time.Now()
		got, err := p.round(ctx, wait)
		pause := time.Duration(0)
		switch {
		case err != nil && p.refused(err):
			p.up() // upstream is there, and can be asked to register
			pause = spread(pollRefused)
		case err != nil:
			return err
		case got.events > 0 && got.acked:
			stuck.exp.Reset()
		case got.events > 0:
			pause = stuck.next(nil, 0)
		case cfg.Interval > 0 && (got.held || cfg.Wait == 0):
			pause = around(cfg.Interval)
		case got.held && time.Since(start) < pollAgain:
			pause = spread(pollAgain)
		}
		wait = cfg.Wait
		if pause > 0 {
			select {
			case <-ctx.Done():
			case <-p.again:
			case <-time.After(pause):
			}
		}
	}
	return context.Cause(ctx)
}

// up makes p the connection that calls go to, once.
func (p *poll) up() {
	if !p.answered {
		p.answered = true
		p.c.up(p, TransportPoll, "")
	}
}

// Visit is for a client that does not Run: it lets f use the methods of c, over
// REST, and ask with poll for what waits. poll returns when nothing is left
// that the handler acks.
func (c *Client) Visit(ctx context.Context, f func(ctx context.Context, poll func() error) error) error {
	p := newPoll(c)
	return p.run(ctx, func(ctx context.Context) (err error) {
		p.up()
		defer func() {
			c.down(err)
			c.cfg.Metrics.fault(err)
		}()
		return f(ctx, func() error {
			for {
				got, err := p.round(ctx, 0)
				if err != nil || !got.acked {
					return err
				}
			}
		})
	})
}

// took is what a poll brought.
type took struct {
	events int
	acked  bool // some were acked or refused
	held   bool // upstream was asked to wait for something
}

// round polls once, hands the UPDATE over and waits until it is dealt with.
func (p *poll) round(ctx context.Context, wait time.Duration) (took, error) {
	cfg := &p.c.cfg
	w := p.c.wanted()
	req := wire.UpdateRequest{
		Agents: p.c.known(), Relay: cfg.Relay, Store: cfg.StoreID, Custody: cfg.Custody,
		Bodies: w.bodies, Urgency: w.word(),
	}
	if req.Ack = p.take(); len(req.Ack) > 0 {
		wait = 0 // it is answered when the acks are taken
	}
	if wait > 0 {
		req.Wait = wait.String()
	}
	taken := p.leave()
	var resp wire.UpdateResponse
	_, err := p.c.rest.post(ctx, wire.PathUpdate, wait, &req, &resp)
	resp.Updates = p.arrive(taken, resp.Updates)
	if err != nil {
		p.handed()
		p.giveBack()
		if ReasonOf(err) == ReasonRefused && errors.Is(err, edition.ErrConflict) {
			err = &Error{Reason: ReasonReplaced, Err: err}
		}
		return took{}, err
	}
	p.settlePoll()
	p.up()
	got, err := p.hand(ctx, &resp)
	got.held = wait > 0
	return got, err
}

// hand gives an answer's UPDATE to the handler.
func (p *poll) hand(ctx context.Context, resp *wire.UpdateResponse) (took, error) {
	cfg := &p.c.cfg
	if len(resp.Refused) > 0 && cfg.Refused != nil && cfg.Relay == "" {
		cfg.Refused(resp.Refused)
	}
	cfg.besides(resp)
	if len(resp.Updates) == 0 {
		p.handed()
		p.setWaiting(false)
		return took{}, nil
	}
	before := p.setWaiting(false)
	events := len(resp.Updates)
	done := make(chan struct{})
	p.c.update(p, edition.Update(resp.Updates), resp.Messages, sync.OnceFunc(func() { close(done) }))
	p.handed()
	select {
	case <-done:
	case <-ctx.Done():
		return took{}, context.Cause(ctx)
	}
	if cfg.Relay != "" {
		if err := p.barrier(ctx); err != nil {
			return took{}, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return took{events: events, acked: p.asked > before}, nil
}

// refused reports whether a poll failed because upstream does not know the
// device, and tells who can register it.
func (p *poll) refused(err error) bool {
	cfg := &p.c.cfg
	agents := p.c.known()
	if cfg.Relay != "" || cfg.Refused == nil || len(agents) == 0 || !unknown(err) {
		return false
	}
	all := make([]edition.UAID, 0, len(agents))
	for _, a := range agents {
		all = append(all, a.UAID)
	}
	cfg.Refused(all)
	return true
}

// unknown reports whether an error is upstream's word that it does not know or
// believe a device.
func unknown(err error) bool {
	return ReasonOf(err) == ReasonRefused &&
		(errors.Is(err, edition.ErrUnauthorized) || errors.Is(err, edition.ErrNotFound) || errors.Is(err, edition.ErrGone))
}

func (p *poll) hello(ctx context.Context, agents []wire.Agent) (accepted, refused []edition.UAID, err error) {
	cfg := &p.c.cfg
	req := wire.UpdateRequest{Agents: agents, Relay: cfg.Relay, Store: cfg.StoreID, Custody: cfg.Custody}
	if cfg.Relay == "" {
		w := p.c.wanted()
		req.Bodies, req.Urgency = w.bodies, w.word()
	}
	taken := p.leave()
	var resp wire.UpdateResponse
	_, err = p.c.rest.post(ctx, wire.PathUpdate, 0, &req, &resp)
	resp.Updates = p.arrive(taken, resp.Updates)
	defer p.handed()
	if err != nil {
		return nil, nil, err
	}
	no := make(map[edition.UAID]bool, len(resp.Refused))
	for _, u := range resp.Refused {
		no[u] = true
	}
	for _, a := range agents {
		if !no[a.UAID] {
			accepted = append(accepted, a.UAID)
		}
	}
	cfg.besides(&resp)
	if len(resp.Updates) > 0 {
		p.c.update(p, edition.Update(resp.Updates), resp.Messages, nothing)
	}
	return accepted, resp.Refused, nil
}

func (p *poll) call(ctx context.Context, m *wire.Message) (*wire.Message, error) {
	a, err := p.c.rest.call(ctx, m, p.c.cfg.Relay)
	if err == nil && m.Type == wire.TypeRegister {
		select {
		case p.again <- struct{}{}:
		default:
		}
	}
	return a, err
}

// call is a registration, or what belongs to one, as a request.
func (r *rest) call(ctx context.Context, m *wire.Message, relay string) (*wire.Message, error) {
	req := wire.RegisterRequest{UAID: m.UAID, Secret: m.Secret, Proof: m.Proof, AppID: m.AppID, Kick: m.Kick, Key: m.Key, Last: m.Last, Confirm: m.Confirm, Relay: relay}
	path := map[string]string{
		wire.TypeRegister: wire.PathRegister, wire.TypeUnregister: wire.PathUnregister, wire.TypeKick: wire.PathKick,
	}[m.Type]
	var resp wire.RegisterResponse
	status, err := r.post(ctx, path, 0, &req, &resp)
	if err != nil {
		return nil, err
	}
	if m.Type == wire.TypeRegister && (status == http.StatusNoContent || resp.UAID != *m.UAID || resp.AppID != *m.AppID) {
		return nil, fault(ReasonProtocol, "upstream answered a registration with another one's")
	}
	return &wire.Message{
		Type: m.Type, Status: status, UAID: m.UAID, AppID: m.AppID, Endpoint: resp.Endpoint, Confirming: resp.Confirming,
	}, nil
}
