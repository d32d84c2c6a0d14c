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

// take returns what travels with the next poll, and its count for settle.
func (p *poll) take() (wire.Updates, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = true
	u := p.queue[ackDelivered]
	if len(u) > ackEvents {
		p.ring()
	}
	if p.c.cfg.Relay != "" || len(u) == 0 || len(u) > ackEvents || p.barriers > 0 {
		return nil, 0
	}
	p.queue[ackDelivered] = nil
	p.carried = u.Normalize()
	return wire.Updates(p.carried), p.asked
}

// settlePoll notes that upstream has taken what travelled with the poll.
func (p *poll) settlePoll(count uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carried = nil
	p.settle(max(count, p.behind))
}

// settlePost notes that upstream has taken everything up to a count but what
// travels with a poll that is out.
func (p *poll) settlePost(count uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.carried != nil {
		p.behind = max(p.behind, count)
		return
	}
	p.settle(count)
}

// settle notes that upstream has taken everything up to a count. Callers hold
// mu.
func (p *poll) settle(count uint64) {
	if count > p.posted {
		p.posted = count
		close(p.progress)
		p.progress = make(chan struct{})
	}
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

// barrier waits until upstream has taken what was queued before it. What
// travels with a poll is sent once more by itself, and nothing else travels with
// one meanwhile: a poll may be held long.
func (p *poll) barrier(ctx context.Context) error {
	p.mu.Lock()
	p.barriers++
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.barriers--
	}()
	target := p.asked
	p.queue[ackDelivered] = append(p.queue[ackDelivered], p.carried...)
	p.carried = nil
	p.mu.Unlock()
	p.ring()
	for {
		p.mu.Lock()
		posted, progress := p.posted, p.progress
		p.mu.Unlock()
		if posted >= target {
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
	queue, count, answers := p.queue, p.asked, p.answers
	p.queue, p.answers = [ackKinds]edition.Update{}, nil
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
	p.settlePost(count)
	return nil
}
