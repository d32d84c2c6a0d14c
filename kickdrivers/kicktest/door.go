package kicktest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Door is an address that leads to a peer, then to another one, or to nobody:
// whoever connects is hung up on. It stays the test's own all the while. A peer
// that ends and begins anew at its old port could find it taken by others.
type Door struct {
	listener net.Listener
	work     sync.WaitGroup

	mu sync.Mutex
	to string // Guarded by mu; empty: nobody.
}

// NewDoor opens one that leads to nobody. It closes with the test, when all
// who have come through it have ended.
func NewDoor(t testing.TB) *Door {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Door{listener: l}
	d.work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			d.work.Go(func() { d.pass(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		d.work.Wait()
	})
	return d
}

// Addr is its host and port.
func (d *Door) Addr() string { return d.listener.Addr().String() }

// Lead has it lead to an address from now on, or to nobody. Connections that
// there are stay with whom they have come to.
func (d *Door) Lead(to string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = to
}

func (d *Door) pass(in net.Conn) {
	defer in.Close()
	d.mu.Lock()
	to := d.to
	d.mu.Unlock()
	if to == "" {
		return
	}
	out, err := new(net.Dialer).DialContext(context.Background(), "tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	d.work.Go(func() {
		io.Copy(in, out) //nolint:errcheck // whichever side has gone, both end
		in.Close()
	})
	io.Copy(out, in) //nolint:errcheck // likewise
}
