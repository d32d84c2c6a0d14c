package gateway

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// URL of the gateway of another node, without /v1/kicks; or Relay, the
	// name of a relay that is connected here: then requests travel over the
	// relay's own connection.
	URL   string `mapstructure:"url"`
	Relay string `mapstructure:"relay"`
	// Token is what the gateway knows this node by, if not by the client
	// certificate in TLS.
	Token driver.Secret `mapstructure:"token"`
	TLS   outbound.TLS  `mapstructure:"tls"`
	// Drivers are the entries of the other node that a device may name; none:
	// whatever that node allows.
	Drivers []string `mapstructure:"drivers"`
	// Wait is how long the outcome of a kick is awaited that the gateway has
	// taken; 0: that it was taken is enough.
	Wait time.Duration `mapstructure:"wait"`
	// Timeout bounds one request. Over a relay's connection that is the
	// whole kick.
	Timeout time.Duration `mapstructure:"timeout"`
	// ParallelRequests is how many requests are under way at once.
	ParallelRequests int `mapstructure:"parallel_requests"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{Wait: 5 * time.Second, Timeout: 10 * time.Second, ParallelRequests: 16}
}

// validName is the name of an entry, of this node or another.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// Faults says all that is wrong with the configuration, each with the key and
// the value. It reads the token and the certificates.
func (c Config) Faults() []error {
	var faults []error
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch {
	case c.URL == "" && c.Relay == "":
		wrong("url: is not given, nor is relay: one of them says where kicks go")
	case c.URL != "" && c.Relay != "":
		wrong("relay: is given, and url as well: one is enough")
	case c.Relay != "":
		if !c.Token.IsZero() || c.TLS != (outbound.TLS{}) {
			wrong("token: and certificates belong to url: a relay has proven itself")
		}
	default:
		faults = append(faults, c.urlFaults()...)
	}
	for i, name := range c.Drivers {
		if !validName.MatchString(name) {
			wrong("drivers[%d]: %q is not the name of an entry", i, name)
		}
	}
	if c.Wait < 0 || c.Wait > time.Minute {
		wrong("wait: %v is not between 0s and 1m", c.Wait)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		wrong("timeout: %v is not between 100ms and 1m", c.Timeout)
	}
	if c.ParallelRequests < 1 || c.ParallelRequests > 1024 {
		wrong("parallel_requests: %d is not between 1 and 1024", c.ParallelRequests)
	}
	return faults
}

func (c Config) urlFaults() []error {
	var faults []error
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		faults = append(faults, fmt.Errorf("url: %q is not a URL such as https://relay.example.org:8443", c.URL))
	}
	switch {
	case !c.Token.IsZero():
		faults = append(faults, c.Token.Faults("token")...)
	case c.TLS.CertFile == "":
		faults = append(faults, fmt.Errorf("token: is not given, nor is tls.cert_file: the gateway serves nobody unknown"))
	}
	for _, err := range c.TLS.Faults() {
		faults = append(faults, fmt.Errorf("tls.%w", err))
	}
	return faults
}

// endpoint is where kicks are asked for.
func (c Config) endpoint(path string) string { return strings.TrimSuffix(c.URL, "/") + path }

// allows reports whether a device may name an entry of the other node.
func (c Config) allows(driver string) bool {
	return len(c.Drivers) == 0 || slices.Contains(c.Drivers, driver)
}
