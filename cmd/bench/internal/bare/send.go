package bare

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

// sendBatch is how many datagrams go in one call, as many as the kick driver
// is ever given.
const sendBatch = 256

// Send sends n datagrams, as many in a call as the system takes, and returns
// how long that took.
func Send(n int, to func(i int) netip.AddrPort, payload func(i int) []byte) (time.Duration, error) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost
	out := ipv4.NewPacketConn(conn)
	ms := make([]ipv4.Message, sendBatch)
	addrs := make([]net.UDPAddr, sendBatch)
	ips := make([][4]byte, sendBatch)
	for i := range ms {
		ms[i].Addr, ms[i].Buffers = &addrs[i], make([][]byte, 1)
	}
	start := time.Now()
	for next := 0; next < n; {
		size := min(sendBatch, n-next)
		for i := range size {
			addr := to(next + i)
			ips[i] = addr.Addr().As4()
			addrs[i].IP, addrs[i].Port = ips[i][:], int(addr.Port())
			ms[i].Buffers[0] = payload(next + i)
		}
		for done := 0; done < size; {
			k, err := out.WriteBatch(ms[done:size], 0)
			if err != nil {
				return 0, err
			}
			done += k
		}
		next += size
	}
	return time.Since(start), nil
}
