package publish

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/edition-push/edition"
)

// limiter gives each endpoint its rate. Of an endpoint it keeps one time: the
// theoretical arrival time of the generic cell rate algorithm (ITU-T I.371),
// and only while that lies ahead. Its memory is bounded; when the table is full
// of endpoints that are over half their rate, some of them start afresh.
type limiter struct {
	// Fixed after construction.
	interval time.Duration // between two at the rate
	burst    time.Duration // how far ahead of now the arrival time may lie
	seed     maphash.Seed

	shards [limitShards]limitShard
}

type limitShard struct {
	mu   sync.Mutex
	next map[edition.Key]time.Time // Guarded by mu.
}

const (
	limitShards   = 64
	limitPerShard = 4096
)

func newLimiter(rate float64, burst int) *limiter {
	interval := max(time.Nanosecond, time.Duration(float64(time.Second)/rate))
	l := &limiter{interval: interval, burst: interval * time.Duration(burst), seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].next = make(map[edition.Key]time.Time)
	}
	return l
}

// admit takes one from the endpoint's rate, or says when to come back.
func (l *limiter) admit(key edition.Key, now time.Time) error {
	s := &l.shards[maphash.Comparable(l.seed, key)%limitShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	next, known := s.next[key]
	if next.Before(now) {
		next = now
	}
	next = next.Add(l.interval)
	if ahead := next.Sub(now); ahead > l.burst {
		return edition.RetryAfter(fmt.Errorf("%w: over the rate of this endpoint", edition.ErrTooMany), ahead-l.burst)
	}
	if !known && len(s.next) >= limitPerShard {
		s.makeRoom(now)
	}
	s.next[key] = next
	return nil
}

// makeRoom forgets who is within the rate anyway, and if that is not enough,
// half of the others.
func (s *limitShard) makeRoom(now time.Time) {
	for k, next := range s.next {
		if !next.After(now) {
			delete(s.next, k)
		}
	}
	for k := range s.next {
		if len(s.next) <= limitPerShard/2 {
			break
		}
		delete(s.next, k)
	}
}
