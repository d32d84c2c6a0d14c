//go:build unix

package udp_test

import (
	"net"

	"golang.org/x/sys/unix"
)

// shrinkBacklog lets the system take one connection that nobody accepts.
func shrinkBacklog(l net.Listener) {
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { unix.Listen(int(fd), 0) })
	}
}
