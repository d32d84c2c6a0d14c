package bolt

import (
	"context"
	"fmt"
	"time"

	"github.com/edition-push/edition"
)

const (
	// retryEvery is how often a commit is tried again while the disk is full.
	retryEvery = time.Second
	// shutdownFold bounds the fold at the end; what it leaves is in the
	// journal, and read again at the next start.
	shutdownFold = 10 * time.Second
)

// Run makes the commits until ctx ends: then the last one, a fold of all that
// is in the journal, and nil. Nothing becomes durable without it. A commit of
// unknown outcome ends it with ErrDisk.
func (s *Store) Run(ctx context.Context) error {
	defer s.stop(errClosed)
	defer s.sweeper(ctx)()
	defer s.learnRoutes(ctx)()
	defer s.trim(ctx)()
	c := new(commit)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	synced, written := time.Now(), false // of SyncInterval
	for ctx.Err() == nil {
		c.reset()
		now := s.ticks()
		s.queue.take(&c.batch, now)
		s.build(c)
		c.probe = s.Err() != nil
		if s.options.Sync == SyncInterval && written && time.Since(synced) >= s.options.Interval {
			if err := s.sync(); err != nil {
				return err
			}
			synced, written = time.Now(), false
		}
		idle, again, err := s.once(c, now)
		switch {
		case err != nil:
			return err
		case idle:
			s.rest(ctx, timer)
			continue
		}
		written = true
		if again > 0 {
			pause(ctx, again)
			continue
		}
		if c.slice.active && len(c.images) == 0 && !s.pressed() {
			s.breathe(ctx, timer)
		}
	}
	return s.last(c)
}

// once makes one commit, with the next slice of a sweep if it is time for one,
// and reports whether there was nothing to write. A full disk is not an error:
// it is tried again after a while.
func (s *Store) once(c *commit, now int64) (idle bool, again time.Duration, err error) {
	s.marks.Lock()
	defer s.marks.Unlock()
	s.slice(c, now)
	if len(c.ops)+len(c.groups) == 0 && c.nothing() {
		return true, 0, nil
	}
	start := time.Now()
	err = s.commit(c)
	switch {
	case err == nil:
		s.finish(c)
		if s.Err() != nil {
			s.options.Log.Info("events are kept again", "path", s.path)
			s.fail(nil)
		}
		return false, 0, nil
	case isFull(err):
		s.metrics.failures.WithLabelValues("full").Inc()
		if s.Err() == nil {
			s.options.Log.Error("no room to keep events: refusing them, delivering what is there", "path", s.path, "err", err)
		}
		full := edition.RetryAfter(fmt.Errorf("%w: no room to keep events", edition.ErrUnavailable), 10*time.Second)
		s.fail(full)
		s.undo(c, full)
		// To undo a commit, bbolt reads the whole file.
		return false, max(retryEvery, 4*time.Since(start)), nil
	}
	s.metrics.failures.WithLabelValues("unknown").Inc()
	broken := fmt.Errorf("%w: %s: %w", edition.ErrDisk, s.path, err)
	s.fail(broken)
	s.undo(c, broken)
	return false, 0, broken
}

// rest waits until there is something to do.
func (s *Store) rest(ctx context.Context, timer *time.Timer) {
	wait := min(s.queue.next()-s.ticks(), idleEvery)
	if s.options.Sync == SyncInterval {
		wait = min(wait, s.options.Interval.Milliseconds())
	}
	if wait <= 0 {
		return
	}
	timer.Reset(time.Duration(wait) * time.Millisecond)
	select {
	case <-ctx.Done():
	case <-s.queue.bell:
	case <-timer.C:
	}
}

// breathe leaves the disk to others between two slices of an unhurried sweep.
func (s *Store) breathe(ctx context.Context, timer *time.Timer) {
	timer.Reset(sliceTime)
	select {
	case <-ctx.Done():
	case <-s.queue.bell:
		s.queue.ring()
	case <-timer.C:
	}
}

func (s *Store) sync() error {
	err := s.faulty("sync")
	if err == nil {
		err = s.db.Sync()
	}
	if err != nil {
		broken := fmt.Errorf("%w: %s: %w", edition.ErrDisk, s.path, err)
		s.fail(broken)
		return broken
	}
	return nil
}

// last commits whatever waits, and folds the journal away.
func (s *Store) last(c *commit) error {
	if s.Err() == nil {
		s.fail(errClosed)
	}
	s.marks.Lock() // whom it holds up gets errClosed
	defer s.marks.Unlock()
	c.reset()
	s.queue.take(&c.batch, never)
	s.build(c)
	s.fold.finish(s.ticks() + s.closing.Milliseconds())
	for {
		err := s.commit(c)
		switch {
		case err == nil:
			s.finish(c)
		case isFull(err):
			s.undo(c, s.Err())
			s.options.Log.Error("no room for the last commit: what it would have cleared will be sent again", "path", s.path, "err", err)
			return nil
		default:
			broken := fmt.Errorf("%w: %s: %w", edition.ErrDisk, s.path, err)
			s.fail(broken)
			s.undo(c, broken)
			return broken
		}
		c.reset()
		if now := s.ticks(); now < s.fold.closing {
			s.slice(c, now)
		}
		if c.nothing() {
			break
		}
	}
	if s.options.Sync == SyncInterval {
		return s.sync()
	}
	return nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
