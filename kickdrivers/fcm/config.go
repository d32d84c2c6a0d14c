package fcm

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
	// ServiceAccount is the JSON key file of a service account that may send
	// messages.
	ServiceAccount driver.Secret `mapstructure:"service_account"`
	// Project is the id of the Firebase project; empty: the account's.
	Project string `mapstructure:"project"`
	// Host is where to send to: https://host[:port].
	Host string       `mapstructure:"host"`
	TLS  outbound.TLS `mapstructure:"tls"`
	// TTL is how long a message is kept for a device that is off; 0: now or
	// never.
	TTL time.Duration `mapstructure:"ttl"`
	// CollapseKey lets a message take the place of an earlier one that the
	// device has not got yet. Empty: none is sent.
	CollapseKey string `mapstructure:"collapse_key"`
	// Connections to Google, at most; ParallelRequests on all of them.
	Connections      int `mapstructure:"connections"`
	ParallelRequests int `mapstructure:"parallel_requests"`
	// Timeout bounds one request, connecting included.
	Timeout time.Duration `mapstructure:"timeout"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		Host:             "https://fcm.googleapis.com",
		TTL:              24 * time.Hour,
		CollapseKey:      "edition",
		Connections:      4,
		ParallelRequests: 128,
		Timeout:          20 * time.Second,
	}
}

// maxTTL is how long a message is kept at most: four weeks.
const maxTTL = 28 * 24 * time.Hour

var validProject = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)

// Faults says all that is wrong with the configuration, each with the key and
// the value. It reads the service account and checks its key: one that cannot
// sign is found here.
func (c Config) Faults() []error {
	var faults []error
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	a, err := readAccount(c.ServiceAccount)
	if err != nil {
		wrong("service_account: %w", err)
	}
	switch {
	case c.Project != "" && !validProject.MatchString(c.Project):
		wrong("project: %.80q is not the id of a project such as my-app-1234", c.Project)
	case c.Project == "" && err == nil && !validProject.MatchString(a.ProjectID):
		wrong("project: is not given, and the service account's project_id %.80q is not one", a.ProjectID)
	}
	if !httpsOrigin(c.Host) {
		wrong("host: %.80q is not such as %s", c.Host, DefaultConfig().Host)
	}
	for _, err := range c.TLS.Faults() {
		wrong("tls.%w", err)
	}
	if c.TTL < 0 || c.TTL > maxTTL {
		wrong("ttl: %v is not between 0 and %v", c.TTL, maxTTL)
	}
	if len(c.CollapseKey) > 64 || strings.ContainsFunc(c.CollapseKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		wrong("collapse_key: %.80q is not at most 64 characters of ASCII without blanks", c.CollapseKey)
	}
	if c.Connections < 1 || c.Connections > 64 {
		wrong("connections: %d is not between 1 and 64", c.Connections)
	}
	if c.ParallelRequests < 1 || c.ParallelRequests > 1<<16 {
		wrong("parallel_requests: %d is not between 1 and %d", c.ParallelRequests, 1<<16)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 5*time.Minute {
		wrong("timeout: %v is not between 100ms and 5m", c.Timeout)
	}
	return faults
}

// httpsOrigin reports whether s is https://host[:port].
func httpsOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}
