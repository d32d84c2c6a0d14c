package udp

import (
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// prepare has the system refuse broadcasts, which Go allows on every UDP
// socket, and lets one call send many datagrams.
func (c *conn) prepare(network string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var bad error
	if err := raw.Control(func(fd uintptr) {
		bad = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0)
	}); err != nil {
		return err
	}
	if network == "udp4" {
		c.batch = ipv4.NewPacketConn(c.UDPConn)
	} else {
		c.batch = ipv6.NewPacketConn(c.UDPConn)
	}
	return bad
}
