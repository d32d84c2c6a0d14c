package mqttsim

import (
	"net"
	"sync"
)

// conns are the connections of a broker, which can be closed and waited for:
// the embedded broker forgets those that have not said CONNECT.
type conns struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[*conn]struct{} // Guarded by mu.
	over bool               // Guarded by mu: no more are taken.
}

// drop closes all connections.
func (s *conns) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Conn.Close()
	}
}

// end closes all connections, takes no more, and returns when the broker has
// let go of all.
func (s *conns) end() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.drop()
	s.wg.Wait()
}

// listener hands out connections that conns knows.
type listener struct {
	net.Listener
	conns *conns
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, conns: l.conns}
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	if l.conns.over {
		raw.Close()
		return nil, net.ErrClosed
	}
	l.conns.open[c] = struct{}{}
	l.conns.wg.Add(1)
	return c, nil
}

// conn is one connection. The broker closes it when it is done with it.
type conn struct {
	net.Conn
	conns *conns
	once  sync.Once
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.conns.mu.Lock()
		delete(c.conns.open, c)
		c.conns.mu.Unlock()
		c.conns.wg.Done()
	})
	return c.Conn.Close()
}
