package bare

import (
	"net"
	"net/netip"
	"time"
)

// Send sends n datagrams, one call each, and returns how long that took.
func Send(n int, to func(i int) netip.AddrPort, payload func(i int) []byte) (time.Duration, error) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost
	start := time.Now()
	for i := range n {
		if _, err := conn.WriteToUDPAddrPort(payload(i), to(i)); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
