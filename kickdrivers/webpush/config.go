package webpush

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// Hosts are the push services that devices may name: see
	// outbound.NewGuard. Networks may be connected to besides the Internet's.
	Hosts    []string `mapstructure:"hosts"`
	Networks []string `mapstructure:"networks"`
	// VAPIDKey is the private key, as GenerateKeys writes it or as PEM.
	VAPIDKey driver.Secret `mapstructure:"vapid_key"`
	// Subject is whom a push service writes to: mailto: or https: (RFC 8292,
	// section 2.1).
	Subject string `mapstructure:"subject"`
	// TTL is how long a push service keeps a kick for a device that is not
	// there, in whole seconds, at most 28 days; 0: not at all (RFC 8030,
	// section 5.2).
	TTL time.Duration `mapstructure:"ttl"`
	// Urgency is very-low, low, normal or high (RFC 8030, section 5.3).
	Urgency string `mapstructure:"urgency"`
	// Topic makes a kick replace one that the push service still keeps: 1 to
	// 32 letters, digits, - and _; empty: none (RFC 8030, section 5.4).
	Topic string `mapstructure:"topic"`
	// Timeout bounds one request, ParallelRequests how many are under way,
	// Connections those to one host.
	Timeout          time.Duration `mapstructure:"timeout"`
	ParallelRequests int           `mapstructure:"parallel_requests"`
	Connections      int           `mapstructure:"connections"`
	TLS              outbound.TLS  `mapstructure:"tls"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		TTL:              24 * time.Hour,
		Urgency:          "high",
		Topic:            "edition-kick",
		Timeout:          10 * time.Second,
		ParallelRequests: 64,
		Connections:      8,
	}
}

const maxTTL = 28 * 24 * time.Hour

var (
	validTopic = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)
	urgencies  = map[string]bool{"very-low": true, "low": true, "normal": true, "high": true}
)

// Faults says all that is wrong with the configuration, each with the key and
// the value. It reads the key and the certificates.
func (c Config) Faults() []error {
	guard, faults := outbound.NewGuard(c.Hosts, c.Networks)
	wrong := func(bad bool, key string, value any, want string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s: %q is not %s", key, fmt.Sprint(value), want))
		}
	}
	if _, err := c.key(); err != nil {
		faults = append(faults, fmt.Errorf("vapid_key: %w", err))
	}
	wrong(!validSubject(c.Subject), "subject", c.Subject, "an address such as mailto:push@example.org or https://example.org/contact")
	wrong(c.TTL < 0 || c.TTL > maxTTL || c.TTL%time.Second != 0, "ttl", c.TTL, "whole seconds between 0s and 672h")
	wrong(!urgencies[c.Urgency], "urgency", c.Urgency, "very-low, low, normal or high")
	wrong(!validTopic.MatchString(c.Topic), "topic", c.Topic, "at most 32 letters, digits, - and _")
	wrong(c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute, "timeout", c.Timeout, "between 100ms and 1m")
	wrong(c.ParallelRequests < 1 || c.ParallelRequests > 4096, "parallel_requests", c.ParallelRequests, "between 1 and 4096")
	wrong(c.Connections < 1 || c.Connections > 1024, "connections", c.Connections, "between 1 and 1024")
	wrong(c.TLS.ServerName != "" && !guard.Single(), "tls.server_name", c.TLS.ServerName, "for several hosts: list one")
	for _, err := range c.TLS.Faults() {
		faults = append(faults, fmt.Errorf("tls.%w", err))
	}
	return faults
}

func (c Config) key() (*vapidKey, error) {
	b, err := c.VAPIDKey.Read()
	if err != nil {
		return nil, err
	}
	return parseKey(b)
}

func validSubject(s string) bool {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return false
	case u.Scheme == "mailto":
		user, host, ok := strings.Cut(u.Opaque, "@")
		return ok && user != "" && host != ""
	}
	return u.Scheme == "https" && u.Host != ""
}
