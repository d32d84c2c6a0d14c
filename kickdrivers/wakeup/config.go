package wakeup

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// URL of the platform's global node; /wakeup/v1 and /netinfo/v1 are
	// appended.
	URL string       `mapstructure:"url"`
	TLS outbound.TLS `mapstructure:"tls"`
	// RealIP is the address of this node that the platform is told, as
	// X-Real-IP and X-Forwarded-For; empty: neither is sent.
	RealIP string `mapstructure:"real_ip"`
	// ClientDN is sent as X-Client-Cert-DN, with X-Client-Cert-Verified:
	// SUCCESS, to a node that is reached without the proxy that verifies
	// certificates in front of it; empty: neither is sent.
	ClientDN string `mapstructure:"client_dn"`
	// Interval is how often the platform is asked for its networks; 0: never.
	Interval time.Duration `mapstructure:"interval"`
	// Networks, if given, are all that devices may be in. They stand alone
	// while the platform has not told its own, and narrow those otherwise.
	Networks []Network `mapstructure:"networks"`
	Ports    string    `mapstructure:"ports"` // "from-to"
	// Timeout bounds one request.
	Timeout time.Duration `mapstructure:"timeout"`
	// ParallelRequests is how many are under way at once.
	ParallelRequests int `mapstructure:"parallel_requests"`
}

// Network is one of a carrier's networks, named by NetID, or by MCC and MNC
// (ITU-T E.212), or by both.
type Network struct {
	NetID string   `mapstructure:"netid"`
	MCC   string   `mapstructure:"mcc"`
	MNC   string   `mapstructure:"mnc"`
	CIDRs []string `mapstructure:"cidrs"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		Interval:         time.Minute,
		Ports:            "1024-65535",
		Timeout:          5 * time.Second,
		ParallelRequests: 32,
	}
}

// Faults says all that is wrong with the configuration, each with the key
// and the value.
func (c Config) Faults() []error {
	_, faults := c.compile()
	return faults
}

// compiled is what the texts of a configuration mean.
type compiled struct {
	url       string // without a slash at the end
	networks  []network
	low, high uint16 // ports
}

var (
	validMCC = regexp.MustCompile(`^[0-9]{3}$`)
	validMNC = regexp.MustCompile(`^[0-9]{2,3}$`)
	// validNetID is what a network may be called: it stands in requests, and
	// in what operators read.
	validNetID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$`)
	validDN    = regexp.MustCompile(`^[ -~]{1,256}$`)
)

func (c Config) compile() (made compiled, faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	var err error
	if made.url, err = base(c.URL); err != nil {
		wrong("url: %w", err)
	}
	for _, err := range c.TLS.Faults() {
		wrong("tls.%w", err)
	}
	if ip, err := netip.ParseAddr(c.RealIP); c.RealIP != "" && (err != nil || ip.Zone() != "" || ip.IsUnspecified()) {
		wrong("real_ip: %q is not an IP address", c.RealIP)
	}
	if c.ClientDN != "" && !validDN.MatchString(c.ClientDN) {
		wrong("client_dn: %q is not 1 to 256 printable ASCII characters", c.ClientDN)
	}
	if c.Interval != 0 && (c.Interval < 100*time.Millisecond || c.Interval > 24*time.Hour) {
		wrong("interval: %v is not 0 (never) or between 100ms and 24h", c.Interval)
	}
	if c.Interval == 0 && len(c.Networks) == 0 {
		wrong("networks: none is given and interval is 0, so that nobody could be kicked")
	}
	for i, n := range c.Networks {
		m, errs := n.compile()
		for _, err := range errs {
			wrong("networks[%d].%w", i, err)
		}
		made.networks = append(made.networks, m)
	}
	if made.low, made.high, err = parsePorts(c.Ports); err != nil {
		wrong("ports: %q is not a range such as 1024-65535", c.Ports)
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > time.Minute {
		wrong("timeout: %v is not between 10ms and 1m", c.Timeout)
	}
	if c.ParallelRequests < 1 || c.ParallelRequests > 1024 {
		wrong("parallel_requests: %d is not between 1 and 1024", c.ParallelRequests)
	}
	return made, faults
}

// base reads the URL. The error does not repeat it: it may hold a password.
func base(text string) (string, error) {
	if text == "" {
		return "", errors.New("is not given")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return "", errors.New("is not a URL such as https://wakeup.carrier.example")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("scheme %q is not https or http", u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("has more than a host, a port and a path")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func (n Network) compile() (made network, faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if n.NetID != "" && !validNetID.MatchString(n.NetID) {
		wrong("netid: %q is not 1 to 128 of A-Z a-z 0-9 . _ : @ -", n.NetID)
	}
	if n.MCC != "" || n.MNC != "" {
		if !validMCC.MatchString(n.MCC) {
			wrong("mcc: %q is not three digits", n.MCC)
		}
		if !validMNC.MatchString(n.MNC) {
			wrong("mnc: %q is not two or three digits", n.MNC)
		}
		made.codes = n.MCC + "-" + n.MNC
	} else if n.NetID == "" {
		wrong("netid: is not given, nor are mcc and mnc")
	}
	made.netid = n.NetID
	if len(n.CIDRs) == 0 {
		wrong("cidrs: none is given")
	}
	for i, s := range n.CIDRs {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || p.Addr().Is4In6():
			wrong("cidrs[%d]: %q is not a CIDR such as 10.0.0.0/8", i, s)
		case p != p.Masked():
			wrong("cidrs[%d]: %q has bits set behind the mask; %s is the network", i, s, p.Masked())
		default:
			made.ranges = append(made.ranges, p)
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
