package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// Networks that targets must lie in. Nothing else is ever sent to.
	Networks []Network `mapstructure:"networks"`
	// Payload is text in which {{.Addr}}, {{.IP}} and {{.Port}} stand for the
	// device's own target. At most 512 bytes when filled in. A code to confirm
	// the route stands behind it, after a blank.
	Payload string `mapstructure:"payload"`
	// Bind is the local address to send from: one for each family, or none.
	Bind []string `mapstructure:"bind"`
	// TCPTimeout bounds one TCP kick, TCPParallel how many are under way.
	TCPTimeout  time.Duration `mapstructure:"tcp_timeout"`
	TCPParallel int           `mapstructure:"tcp_parallel"`
}

// Network is a set of addresses that devices may be kicked at.
type Network struct {
	Name  string   `mapstructure:"name"`  // for messages; may be empty
	NetID string   `mapstructure:"netid"` // how a device may name it
	MCC   string   `mapstructure:"mcc"`   // or so, in pairs
	MNC   string   `mapstructure:"mnc"`
	CIDRs []string `mapstructure:"cidrs"`
	// AnyAddress lets a device name another address than the one it connects
	// from. Behind an address translator nothing else may work; then a device
	// can have others in the network kicked.
	AnyAddress bool   `mapstructure:"any_address"`
	Ports      string `mapstructure:"ports"` // "from-to"; empty is 1024-65535
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		Payload:     "NOTIFY {{.Addr}}",
		TCPTimeout:  3 * time.Second,
		TCPParallel: 64,
	}
}

// Faults says all that is wrong with the configuration, each with the key
// and the value.
func (c Config) Faults() []error {
	_, _, _, faults := c.compile()
	return faults
}

// compile turns the texts of the configuration into what is used.
func (c Config) compile() (g guard, p payload, bind [2]netip.Addr, faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Networks) == 0 {
		wrong("networks: none is given, so that nobody could be kicked")
	}
	for i, n := range c.Networks {
		made, errs := n.compile()
		for _, err := range errs {
			wrong("networks[%d].%w", i, err)
		}
		g.networks = append(g.networks, made)
	}
	p, err := parsePayload(c.Payload)
	if err != nil {
		wrong("payload: %q: %w", c.Payload, err)
	}
	for i, s := range c.Bind {
		a, err := netip.ParseAddr(s)
		family := 0
		if a.Is6() {
			family = 1
		}
		switch {
		case err != nil || a.Is4In6() || a.IsMulticast():
			wrong("bind[%d]: %q is not an IP address of this machine", i, s)
		case bind[family].IsValid():
			wrong("bind[%d]: %q is the second address of its family", i, s)
		default:
			bind[family] = a
		}
	}
	if c.TCPTimeout < 10*time.Millisecond || c.TCPTimeout > time.Minute {
		wrong("tcp_timeout: %v is not between 10ms and 1m", c.TCPTimeout)
	}
	if c.TCPParallel < 1 || c.TCPParallel > 4096 {
		wrong("tcp_parallel: %d is not between 1 and 4096", c.TCPParallel)
	}
	return g, p, bind, faults
}

var (
	validMCC = regexp.MustCompile(`^[0-9]{3}$`)
	validMNC = regexp.MustCompile(`^[0-9]{2,3}$`)
)

func (n Network) compile() (network, []error) {
	var faults []error
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	made := network{name: n.Name, netid: n.NetID, mcc: n.MCC, mnc: n.MNC, anyAddress: n.AnyAddress, low: 1024, high: 65535}
	if n.MCC != "" || n.MNC != "" {
		if !validMCC.MatchString(n.MCC) {
			wrong("mcc: %q is not three digits", n.MCC)
		}
		if !validMNC.MatchString(n.MNC) {
			wrong("mnc: %q is not two or three digits", n.MNC)
		}
	}
	if len(n.CIDRs) == 0 {
		wrong("cidrs: none is given")
	}
	for i, s := range n.CIDRs {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			wrong("cidrs[%d]: %q is not a CIDR such as 10.0.0.0/8", i, s)
		case p.Addr().Is4In6():
			wrong("cidrs[%d]: %q: write it as IPv4", i, s)
		case p != p.Masked():
			wrong("cidrs[%d]: %q has bits set behind the mask; %s is the network", i, s, p.Masked())
		default:
			made.subnets = append(made.subnets, newSubnet(p))
		}
	}
	if n.Ports != "" {
		var err error
		if made.low, made.high, err = parsePorts(n.Ports); err != nil {
			wrong("ports: %q is not a range such as 1024-65535", n.Ports)
		}
	}
	return made, faults
}

func parsePorts(s string) (low, high uint16, err error) {
	from, to, found := strings.Cut(s, "-")
	if !found {
		to = from
	}
	l, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	h, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if err1 != nil || err2 != nil || l == 0 || l > h {
		return 0, 0, errors.New("not a range of ports")
	}
	return uint16(l), uint16(h), nil
}
