// Package httpconn lets a handler of HTTP/1 say that it does not want to be
// told when its client leaves.
//
// While a handler runs, net/http reads one byte ahead, in a goroutine of its
// own, to learn of that. A handler that waits, but not long, pays for it with a
// system call, two changes of goroutine and three deadlines for each request.
//
// It promises that the connection behaves as any other when nothing is said, or
// when net/http should find another way to watch. It knows nothing of HTTP/2.
package httpconn

import (
	"context"
	"net"
	"sync/atomic"
)

// Conn is a TCP connection whose watch can be left out.
type Conn struct {
	*net.TCPConn
	unwatched atomic.Bool
}

// Read reads as every connection does. Only net/http's watch asks for a single
// byte; while nobody wants it, it gets none and no error, and ends.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 1 && c.unwatched.Load() {
		return 0, nil
	}
	return c.TCPConn.Read(b)
}

// Unwatch leaves out the watch that begins at the end of a request's body; of a
// request without a body it has begun already. A handler calls it before it
// reads the body, and Watch before it returns.
func (c *Conn) Unwatch() { c.unwatched.Store(true) }

// Watch takes Unwatch back.
func (c *Conn) Watch() { c.unwatched.Store(false) }

type listener struct{ net.Listener }

// Listen makes the connections of a TCP listener such ones; those of others
// stay as they are.
func Listen(l net.Listener) net.Listener { return listener{l} }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &Conn{TCPConn: tcp}, nil
	}
	return c, err
}

type key struct{}

// Context is for http.Server.ConnContext.
func Context(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*Conn); ok {
		return context.WithValue(ctx, key{}, c)
	}
	return ctx
}

// Of returns the connection of a request's context, nil when there is none
// whose watch can be left out.
func Of(ctx context.Context) *Conn {
	c, _ := ctx.Value(key{}).(*Conn)
	return c
}
