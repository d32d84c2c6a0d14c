package apns

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sideshow/apns2"

	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// Topics are the bundle ids of the apps that may be woken. A device that
	// names none gets the first.
	Topics []string `mapstructure:"topics"`
	// TokenKey is the signing key, the .p8 file; KeyID and TeamID are the 10
	// characters each that Apple shows beside it.
	TokenKey driver.Secret `mapstructure:"token_key"`
	KeyID    string        `mapstructure:"key_id"`
	TeamID   string        `mapstructure:"team_id"`
	// TLS holds, instead of TokenKey, the push certificate; and for tests
	// whom to believe.
	TLS outbound.TLS `mapstructure:"tls"`
	// Sandbox sends to Apple's development environment. Host, if not empty,
	// is where to send instead of to Apple: https://host[:port].
	Sandbox bool   `mapstructure:"sandbox"`
	Host    string `mapstructure:"host"`
	// Push is background or alert; Alert is what an alert shows.
	Push  string `mapstructure:"push"`
	Alert Alert  `mapstructure:"alert"`
	// Expiration is how long Apple keeps a push for a device that is off; 0:
	// not at all.
	Expiration time.Duration `mapstructure:"expiration"`
	// CollapseID lets a push take the place of an earlier one that the device
	// has not got yet. Empty: none is sent.
	CollapseID string `mapstructure:"collapse_id"`
	// Connections to Apple, at most; ParallelRequests on all of them.
	Connections      int `mapstructure:"connections"`
	ParallelRequests int `mapstructure:"parallel_requests"`
	// Timeout bounds one push, connecting included.
	Timeout time.Duration `mapstructure:"timeout"`
}

// Alert is the text of an alert push.
type Alert struct {
	Title string `mapstructure:"title"`
	Body  string `mapstructure:"body"`
}

// The values of Config.Push.
const (
	background = string(apns2.PushTypeBackground)
	alert      = string(apns2.PushTypeAlert)
)

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		Push:             background,
		Expiration:       24 * time.Hour,
		CollapseID:       "edition",
		Connections:      2,
		ParallelRequests: 512,
		Timeout:          20 * time.Second,
	}
}

const (
	// maxExpiration is how long Apple keeps a push at most.
	maxExpiration = 30 * 24 * time.Hour
	// maxCollapseID is the greatest length of a collapse id, in bytes.
	maxCollapseID = 64
	// maxPayload is the greatest size of a push, in bytes.
	maxPayload = 4096
)

var (
	validTopic = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)
	validTenID = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	// otherTopics end the topics of pushes that have types of their own.
	otherTopics = []string{".voip", ".voip-ptt", ".complication", ".pushkit.fileprovider", ".location-query", ".push-type.liveactivity"}
)

// Faults says all that is wrong with the configuration, each with the key and
// the value. It reads the key and the certificate: a key that cannot sign and a
// certificate whose time is over are found here.
func (c Config) Faults() []error {
	faults := append(c.topicFaults(), c.proofFaults()...)
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, err := c.origin(); err != nil {
		wrong("host: %w", err)
	}
	switch c.Push {
	case background:
		if c.Alert != (Alert{}) {
			wrong("alert: is given, but push is %q", c.Push)
		}
	case alert:
		if c.Alert == (Alert{}) {
			wrong("alert: has neither title nor body, so that there is nothing to show")
		}
		if !utf8.ValidString(c.Alert.Title) || !utf8.ValidString(c.Alert.Body) {
			wrong("alert: is not UTF-8")
		}
	default:
		wrong("push: %q is not background or alert", c.Push)
	}
	if n := len(c.payload("XXXXXXXX")); n > maxPayload {
		wrong("alert: makes a push of %d bytes, more than %d", n, maxPayload)
	}
	if c.Expiration < 0 || c.Expiration > maxExpiration {
		wrong("expiration: %v is not between 0 and %v", c.Expiration, maxExpiration)
	}
	if len(c.CollapseID) > maxCollapseID || strings.ContainsFunc(c.CollapseID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		wrong("collapse_id: %.80q is not at most %d characters of ASCII without blanks", c.CollapseID, maxCollapseID)
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

func (c Config) topicFaults() (faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Topics) == 0 {
		wrong("topics: none is given, so that nobody could be kicked")
	}
	for i, t := range c.Topics {
		switch {
		case !validTopic.MatchString(t) || len(t) > 255:
			wrong("topics[%d]: %.80q is not a bundle id such as com.example.app", i, t)
		case slices.ContainsFunc(otherTopics, func(end string) bool { return strings.HasSuffix(t, end) }):
			wrong("topics[%d]: %q is not for %s pushes: give the bundle id of the app itself", i, t, c.Push)
		case slices.Contains(c.Topics[:i], t):
			wrong("topics[%d]: %q is given twice", i, t)
		}
	}
	return faults
}

// proofFaults says what is wrong with the way to prove who sends.
func (c Config) proofFaults() (faults []error) {
	faults = nest("tls", c.TLS.Faults())
	switch byToken := !c.TokenKey.IsZero(); {
	case byToken && c.TLS.CertFile != "":
		faults = append(faults, errors.New("token_key: and tls.cert_file are both given; one is enough"))
	case !byToken && c.TLS.CertFile == "":
		faults = append(faults, errors.New("token_key: is not given, and tls.cert_file is not: one of them must prove who sends"))
	case byToken:
		if !validTenID.MatchString(c.KeyID) {
			faults = append(faults, fmt.Errorf("key_id: %.40q is not 10 of A-Z 0-9", c.KeyID))
		}
		if !validTenID.MatchString(c.TeamID) {
			faults = append(faults, fmt.Errorf("team_id: %.40q is not 10 of A-Z 0-9", c.TeamID))
		}
		if _, err := newProviderToken(c.TokenKey, c.KeyID, c.TeamID); err != nil {
			faults = append(faults, fmt.Errorf("token_key: %w", err))
		}
	case len(faults) == 0:
		cert, err := readCertificate(c.TLS.CertFile)
		if err != nil {
			return append(faults, fmt.Errorf("tls.cert_file: %w", err))
		}
		faults = append(faults, cert.faults(c.Topics, c.Sandbox)...)
	}
	return faults
}

func nest(key string, errs []error) (all []error) {
	for _, err := range errs {
		all = append(all, fmt.Errorf("%s.%w", key, err))
	}
	return all
}

// origin is where requests go: scheme and host.
func (c Config) origin() (string, error) {
	switch {
	case c.Host == "" && c.Sandbox:
		return apns2.HostDevelopment, nil
	case c.Host == "":
		return apns2.HostProduction, nil
	}
	u, err := url.Parse(c.Host)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%.80q is not such as https://api.push.apple.com", c.Host)
	}
	return "https://" + u.Host, nil
}
