package peers

import (
	"fmt"
	"net/netip"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/udp/udpsim"
)

// udpKind is a device of a network, which hears datagrams, and TCP connections
// at the same port.
func udpKind() Kind {
	return Kind{
		Name: "udp", Driver: "udp", What: "a device that listens for datagrams, and for TCP",
		start: func(o Options) (*Peer, error) {
			s, err := udpsim.Start(udpsim.Options{Addr: o.Addr, Log: o.Log, OnKick: func(k udpsim.Kick) {
				o.OnPush(Push{To: k.Proto, Text: fmt.Sprintf("from %s: %q", k.From, k.Text)})
			}})
			if err != nil {
				return nil, fmt.Errorf("%w: %w", edition.ErrListen, err)
			}
			at, err := netip.ParseAddrPort(s.Addr())
			if err != nil {
				s.Close() //nolint:errcheck // the first error says more
				return nil, err
			}
			ip := at.Addr().Unmap()
			if ip.IsUnspecified() {
				ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			network := map[string]any{"name": "sim", "cidrs": []any{netip.PrefixFrom(ip, ip.BitLen()).String()}, "any_address": true}
			return &Peer{
				URL:    at.String() + ", UDP and TCP",
				Entry:  map[string]any{"networks": []any{network}},
				Target: map[string]any{"ip": ip.String(), "port": int(at.Port())},
				Close:  s.Close,
			}, nil
		},
	}
}
