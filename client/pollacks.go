package client

import (
	"context"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// setWaiting notes whether a poll is out, and returns how much was acked so far.
func (p *poll) setWaiting(yes bool) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = yes
	return p.asked
}

// take returns what travels with the next poll. What does not leaves by itself.
func (p *poll) take() wire.Updates {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = true
	u := p.queue[ackDelivered]
	if len(u) > ackEvents || p.barriers > 0 {
		p.ring()
	}
	if p.c.cfg.Relay != "" || len(u) == 0 || len(u) > ackEvents || p.barriers > 0 {
		return nil
	}
	p.queue[ackDelivered] = nil
	p.carried, p.lastPoll, p.left = u.Normalize(), p.left, p.asked
	return wire.Updates(p.carried)
}

// unload puts what travels with the poll that is out back into the queue.
// Callers hold mu.
func (p *poll) unload() {
	if p.carried == nil {
		return
	}
	p.queue[ackDelivered] = append(p.queue[ackDelivered], p.carried...)
	p.carried, p.left = nil, min(p.left, p.lastPoll)
}

// giveBack notes that upstream has not taken what travelled with the poll.
func (p *poll) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
	p.unload()
}

// settlePoll notes that upstream has taken what travelled with the poll.
func (p *poll) settlePoll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carried = nil
	p.settle()
}

// settlePost notes that upstream has taken what postQueue sent.
func (p *poll) settlePost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posting = false
	p.settle()
}

// settle notes what upstream has taken: all but what is in the queue or on its
// way, with a poll or beside it. Callers hold mu.
func (p *poll) settle() {
	count := p.left
	if p.carried != nil {
		count = min(count, p.lastPoll)
	}
	if p.posting {
		count = min(count, p.lastPost)
	}
	if count > p.posted {
		p.posted = count
		p.echoes.forget(count)
		p.advance()
	}
}

// advance has everybody in barrier look again. Callers hold mu.
func (p *poll) advance() {
	close(p.progress)
	p.progress = make(chan struct{})
}

func (p *poll) ack(kind ackKind, u edition.Update) error {
	select {
	case <-p.ended:
		return errEnded
	default:
	}
	p.mu.Lock()
	p.queue[kind] = append(p.queue[kind], u...)
	p.asked += uint64(len(u))
	if p.echoed(kind) {
		p.echoes.note(u, p.asked)
	}
	alone := p.waiting || p.c.cfg.Relay != ""
	p.mu.Unlock()
	if alone {
		p.ring()
	}
	return nil
}

// woken has an answer sent at once: upstream waits for it.
func (p *poll) woken(a wire.Woken) error {
	select {
	case <-p.ended:
		return errEnded
	default:
	}
	p.mu.Lock()
	p.answers = append(p.answers, a)
	p.mu.Unlock()
	p.ring()
	return nil
}

func (p *poll) ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// barrier waits until upstream has taken what was queued before it, and what
// the polls of a relay had brought by then is handed out. What travels with a
// poll is sent once more by itself, and nothing else travels with one meanwhile:
// a poll may be held long.
func (p *poll) barrier(ctx context.Context) error {
	p.mu.Lock()
	p.barriers++
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.barriers--
	}()
	target := p.asked
	p.unload()
	p.mu.Unlock()
	p.ring()
	for {
		p.mu.Lock()
		passed, progress := p.posted >= target && p.handing == 0, p.progress
		p.mu.Unlock()
		if passed {
			return nil
		}
		select {
		case <-progress:
		case <-p.ended:
			return errEnded
		case <-ctx.Done():
			return netFault(context.Cause(ctx), ReasonTimeout)
		}
	}
}

// post sends the acks that cannot wait for a poll, until ctx ends.
func (p *poll) post(ctx context.Context, fail context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.bell:
		}
		if err := p.postQueue(ctx); err != nil {
			fail(err)
			return
		}
	}
}

func (p *poll) postQueue(ctx context.Context) error {
	p.mu.Lock()
	queue, answers := p.queue, p.answers
	p.queue, p.answers = [ackKinds]edition.Update{}, nil
	p.posting, p.lastPost, p.left = true, p.left, p.asked
	p.mu.Unlock()
	cfg := &p.c.cfg
	if len(answers) > 0 {
		req := wire.AckRequest{Relay: cfg.Relay, Woken: answers}
		if _, err := p.c.rest.post(ctx, wire.PathAck, 0, &req, new(struct{})); err != nil {
			return err
		}
	}
	for kind, u := range queue {
		for u = u.Normalize(); len(u) > 0; {
			n := min(len(u), ackEvents)
			req := wire.AckRequest{Relay: cfg.Relay}
			if cfg.Relay == "" {
				req.Agents, req.Bodies = p.c.known(), p.c.wanted().bodies
			}
			switch part := wire.Updates(u[:n]); ackKind(kind) {
			case ackStored:
				req.State, req.Updates, req.Store = wire.AckStored, part, cfg.StoreID
			case ackRefuse:
				req.Refuse, req.Store = part, cfg.StoreID
			default:
				req.Updates = part
			}
			if _, err := p.c.rest.post(ctx, wire.PathAck, 0, &req, new(struct{})); err != nil {
				return err
			}
			u = u[n:]
		}
	}
	p.settlePost()
	return nil
}
