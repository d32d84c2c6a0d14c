package session

import (
	"sync"
	"sync/atomic"

	"github.com/edition-push/edition"
)

// streams are the event streams, by the devices they hold, so that an ack that
// comes as a request of its own reaches the stream that it sets free. While
// there is none, an ack costs one atomic load more.
type streams struct {
	n  atomic.Int64
	mu sync.RWMutex
	by map[edition.UAID]*stream // Guarded by mu.
}

func (s *streams) add(st *stream, uaids []edition.UAID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[edition.UAID]*stream)
	}
	for _, uaid := range uaids {
		s.by[uaid] = st
	}
	s.n.Store(int64(len(s.by)))
}

func (s *streams) remove(st *stream, uaids []edition.UAID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, uaid := range uaids {
		if s.by[uaid] == st {
			delete(s.by, uaid)
		}
	}
	s.n.Store(int64(len(s.by)))
}

// landed tells the streams of an ack.
func (s *streams) landed(u edition.Update) {
	if s.n.Load() == 0 {
		return
	}
	for len(u) > 0 {
		n := 1
		for n < len(u) && u[n].UAID == u[0].UAID {
			n++
		}
		s.mu.RLock()
		st := s.by[u[0].UAID]
		s.mu.RUnlock()
		if st != nil {
			st.landed(u[:n])
		}
		u = u[n:]
	}
}
