package session

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

const (
	// maxWaking is how many requests to wake a device one relay may have to
	// answer at once.
	maxWaking = 256
	// pollGrace is how long after its last poll a relay is taken to be there.
	pollGrace = 2 * wire.MaxWait
	// maxDetail bounds a relay's words about a kick, in bytes.
	maxDetail = 300
	// maxRetryAfter bounds the pause that a relay may ask for, in seconds.
	maxRetryAfter = 24 * 3600
)

// Wake has a relay that is connected here wake a device, or use a route, with
// its own drivers, and returns what came of that. What the relay refused is no
// error but a result. Errors: ErrNotFound for a relay that may not connect
// here, ErrUnavailable for one that is not connected or does not answer within
// wire.MaxWake, ErrTooMany when it has too much to answer already.
func (s *Server) Wake(ctx context.Context, relay string, req wire.WakeRequest) (wire.WakeResult, error) {
	p := s.roster.Load().named(relay)
	if p == nil {
		return wire.WakeResult{}, fmt.Errorf("%w: no relay is called %.64q here", edition.ErrNotFound, relay)
	}
	text, err := json.Marshal(req)
	if err != nil {
		return wire.WakeResult{}, fmt.Errorf("%w: kick is not JSON", edition.ErrMalformed)
	}
	ctx, cancel := context.WithTimeout(ctx, wire.MaxWake)
	defer cancel()
	res, err := p.calls.ask(ctx, s.clock(), text)
	result := "answered"
	if err != nil {
		result = "failed"
		err = fmt.Errorf("relay %s: %w", relay, err)
	}
	s.m.wakes.WithLabelValues(result).Inc()
	return res, err
}

var (
	errAway    = edition.RetryAfter(fmt.Errorf("%w: it is not connected", edition.ErrUnavailable), 10*time.Second)
	errMute    = fmt.Errorf("%w: it did not answer in time", edition.ErrUnavailable)
	errLeft    = fmt.Errorf("%w: its connection ended before the answer", edition.ErrUnavailable)
	errCalling = edition.RetryAfter(fmt.Errorf("%w: it has %d requests to answer", edition.ErrTooMany, maxWaking), time.Second)
)

// calls are the requests to one relay. Over its WebSocket they go at once; a
// relay that polls gets them with the answer to its poll.
type calls struct {
	mu     sync.Mutex // guards what follows
	last   uint64
	under  map[uint64]*call
	queue  []uint64      // for the next poll
	link   *conn         // the relay's WebSocket, if it has one
	poll   *poll         // which waits
	polled time.Duration // when the last one came or ended, on the server's clock; 0: never
}

// call is one request under way.
type call struct {
	text   json.RawMessage      // the wire.WakeRequest
	link   *conn                // that it went over; nil: by poll
	answer chan wire.WakeResult // capacity 1; closed when there will be none
}

func (cs *calls) ask(ctx context.Context, now time.Duration, text json.RawMessage) (wire.WakeResult, error) {
	id, k, link, err := cs.begin(now, text)
	if err != nil {
		return wire.WakeResult{}, err
	}
	defer cs.forget(id)
	if link != nil {
		link.call(id, text)
	}
	select {
	case res, ok := <-k.answer:
		if !ok {
			return res, errLeft
		}
		return res, nil
	case <-ctx.Done():
		return wire.WakeResult{}, fmt.Errorf("%w (%w)", errMute, context.Cause(ctx))
	}
}

// begin notes a request, and leaves it for a poll where there is no WebSocket.
func (cs *calls) begin(now time.Duration, text json.RawMessage) (uint64, *call, *conn, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case len(cs.under) >= maxWaking:
		return 0, nil, nil, errCalling
	case cs.link == nil && cs.poll == nil && (cs.polled == 0 || now-cs.polled > pollGrace):
		return 0, nil, nil, errAway
	}
	if cs.under == nil {
		cs.under = make(map[uint64]*call)
		cs.last = rand.Uint64N(1 << 40) // answers to an earlier process are not taken for ours
	}
	cs.last++
	k := &call{text: text, link: cs.link, answer: make(chan wire.WakeResult, 1)}
	cs.under[cs.last] = k
	if k.link == nil {
		cs.queue = append(cs.queue, cs.last)
		if cs.poll != nil {
			cs.poll.wake()
		}
	}
	return cs.last, k, k.link, nil
}

func (cs *calls) forget(id uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.under, id)
	cs.queue = slices.DeleteFunc(cs.queue, func(q uint64) bool { return q == id })
}

// answer passes a relay's answer on. One that nobody waits for is late.
func (cs *calls) answer(id uint64, res wire.WakeResult) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if k := cs.under[id]; k != nil {
		delete(cs.under, id)
		res.Outcome, res.Driver = short(res.Outcome), short(res.Driver)
		res.Detail = res.Detail[:min(len(res.Detail), maxDetail)]
		res.RetryAfter = max(0, min(res.RetryAfter, maxRetryAfter))
		k.answer <- res
	}
}

// attach makes a WebSocket the one that requests go over, also those that no
// poll has come for.
func (cs *calls) attach(c *conn) {
	for id, text := range cs.relink(c) {
		c.call(id, text)
	}
}

func (cs *calls) relink(c *conn) map[uint64]json.RawMessage {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.link = c
	moved := make(map[uint64]json.RawMessage, len(cs.queue))
	for _, id := range cs.queue {
		cs.under[id].link = c
		moved[id] = cs.under[id].text
	}
	cs.queue = nil
	return moved
}

// detach undoes attach. What went over the connection will not be answered.
func (cs *calls) detach(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.link == c {
		cs.link = nil
	}
	for id, k := range cs.under {
		if k.link == c {
			delete(cs.under, id)
			close(k.answer)
		}
	}
}

// polls notes that a poll waits, or, when p is nil, that one came that does not.
func (cs *calls) polls(p *poll, now time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.polled = max(1, now)
	if p != nil {
		cs.poll = p
	}
}

// polledBy notes that a poll is answered, and returns the requests that go with
// the answer when take says so.
func (cs *calls) polledBy(p *poll, now time.Duration, take bool) (queue []wire.Wake) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.polled = max(1, now)
	if cs.poll == p {
		cs.poll = nil
	}
	if !take {
		return nil
	}
	for _, id := range cs.queue {
		w := wire.Wake{ID: id}
		json.Unmarshal(cs.under[id].text, &w.Wake) //nolint:errcheck // what Server.Wake has written
		queue = append(queue, w)
	}
	cs.queue = nil
	return queue
}

func (cs *calls) queued() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.queue) > 0
}

// call sends a request over the relay's connection. It does not block.
func (c *conn) call(id uint64, text []byte) {
	f := newFrame()
	f.b = strconv.AppendUint(append(f.b, `{"type":"wake","id":`...), id, 10)
	f.b = append(append(append(f.b, `,"wake":`...), text...), '}')
	c.post(websocket.TextMessage, f)
}

// onWoken takes a relay's answer.
func (c *conn) onWoken(m *wire.Message) {
	switch {
	case c.badge == nil:
		c.refuse(errNotAsked, wire.TypeWoken)
	case c.caller().owner == edition.Direct:
		c.refuse(errNoName, wire.TypeWoken)
	case m.ID == 0 || m.Woken == nil:
		c.fault(fmt.Errorf("%w: woken names an id and what came of it", edition.ErrMalformed), wire.TypeWoken)
	default:
		c.self.calls.answer(m.ID, *m.Woken)
	}
}

var errNotAsked = fmt.Errorf("%w: only a relay is asked to wake devices", edition.ErrForbidden)

// woken takes the answers of a relay that polls.
func (q *request) woken(answers []wire.Woken) error {
	if len(answers) > 0 && !q.by.relay() {
		return errNotAsked
	}
	for _, a := range answers {
		q.by.peer.calls.answer(a.ID, a.Woken)
	}
	return nil
}
