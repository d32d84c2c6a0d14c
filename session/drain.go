package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

var errDraining = edition.RetryAfter(fmt.Errorf("%w: the server is shutting down", edition.ErrUnavailable), 5*time.Second)

func errSize(limit int) error {
	return fmt.Errorf("%w: a message has at most %d bytes", edition.ErrTooLarge, limit)
}

// stopTaking refuses what comes from now on, and ends long polls.
func (s *Server) stopTaking() { s.drain.Do(func() { close(s.draining) }) }

// Drain refuses new connections and requests with 503, and closes those that
// there are with 1012, spread over the time until ctx's deadline (at once if
// it has none). The reason of each close is the number of seconds after which
// to come back, which is spread as well. Drain returns when no connection is
// left, or when ctx ends; Run's end cuts off the rest. Run must be running.
func (s *Server) Drain(ctx context.Context) {
	var spread time.Duration
	if end, ok := ctx.Deadline(); ok {
		spread = time.Until(end) * 4 / 5 // the last need time to go, too
	}
	s.spread.Store(int64(spread))
	s.stopTaking()
	var conns []*conn
	for i := range wheelSlots {
		conns = s.wheel.in(conns, i)
	}
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })

	start := time.Now()
	for i, c := range conns {
		at := spread * time.Duration(i) / time.Duration(len(conns))
		if !sleepUntil(ctx, start.Add(at)) {
			return
		}
		wait := 1 + rand.IntN(max(1, int(spread.Seconds())))
		c.end(wire.CloseRestart, strconv.Itoa(wait), reasonDrain)
	}
	select {
	case <-s.wheel.none():
	case <-ctx.Done():
	}
}

// sleepUntil is false when ctx ends before.
func sleepUntil(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d < time.Millisecond {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
