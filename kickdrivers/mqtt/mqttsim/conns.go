package mqttsim

import (
	"net"
	"sync"
)

// conns are the connections of a broker. They are accepted here and not by the
// embedded broker, which forgets those that have not said CONNECT when it is
// closed, and then waits for them for ever.
type conns struct {
	wg   sync.WaitGroup // the acceptor, and each connection
	mu   sync.Mutex
	open map[net.Conn]struct{} // Guarded by mu.
	over bool                  // Guarded by mu: no more are taken.
}

// accept serves what comes to l until end is called.
func (s *conns) accept(l net.Listener, serve func(net.Conn)) {
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !s.add(c) {
				c.Close()
				return
			}
			s.wg.Go(func() {
				defer s.remove(c)
				serve(c)
			})
		}
	})
}

func (s *conns) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.open[c] = struct{}{}
	}
	return !s.over
}

func (s *conns) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

// drop closes all connections.
func (s *conns) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// end closes all connections, takes no more, and returns when the broker has
// let go of all.
func (s *conns) end(l net.Listener) {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	l.Close()
	s.drop()
	s.wg.Wait()
}
