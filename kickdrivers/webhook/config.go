package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// URL is the operator's own: http://…, https://…, or unix:/path of a
	// socket.
	URL string `mapstructure:"url"`
	// Secrets sign each request, all of them: so the receiver can be given a
	// new one before the old one is taken away. Each is base64 of 24 to 64
	// bytes, usually behind whsec_.
	Secrets []driver.Secret `mapstructure:"secrets"`
	// Batch is how many kicks one request may carry; 1 has its own form.
	Batch int `mapstructure:"batch"`
	// Allow is a regular expression that a device's whole id has to match;
	// empty: any.
	Allow string `mapstructure:"allow"`
	// MaxData is how many bytes of data a device may add to its id.
	MaxData int `mapstructure:"max_data"`
	// Timeout bounds one request, ParallelRequests how many are under way.
	Timeout          time.Duration `mapstructure:"timeout"`
	ParallelRequests int           `mapstructure:"parallel_requests"`
	TLS              outbound.TLS  `mapstructure:"tls"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{Batch: 1, MaxData: maxData, Timeout: 10 * time.Second, ParallelRequests: 16}
}

const (
	maxData    = 1024
	maxBatch   = 256
	maxSecrets = 5
	// minKey and maxKey are what Standard Webhooks asks of a secret, in bytes.
	minKey, maxKey = 24, 64
)

// Faults says all that is wrong with the configuration, each with the key and
// the value. It reads the secrets and the certificates.
func (c Config) Faults() []error {
	_, faults := c.compile()
	return faults
}

// compiled is what the texts of a configuration become.
type compiled struct {
	url, unix string
	keys      [][]byte
	allow     *regexp.Regexp
}

func (c Config) compile() (made compiled, faults []error) {
	wrong := func(bad bool, key string, value any, want string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s: %q is not %s", key, fmt.Sprint(value), want))
		}
	}
	var ok bool
	made.url, made.unix, ok = splitURL(c.URL)
	wrong(!ok, "url", c.URL, "a URL such as https://kicks.example.org/kick, or unix:/run/kicks.sock")
	if n := len(c.Secrets); n == 0 || n > maxSecrets {
		faults = append(faults, fmt.Errorf("secrets: %d are given, not between 1 and %d", n, maxSecrets))
	}
	for i, s := range c.Secrets {
		key, err := readKey(s)
		if err != nil {
			faults = append(faults, fmt.Errorf("secrets[%d]: %w", i, err))
		}
		made.keys = append(made.keys, key)
	}
	if c.Allow != "" {
		_, err := regexp.Compile(c.Allow)
		wrong(err != nil, "allow", c.Allow, "a regular expression")
		if err == nil {
			made.allow = regexp.MustCompile(`\A(?:` + c.Allow + `)\z`)
		}
	}
	wrong(c.Batch < 1 || c.Batch > maxBatch, "batch", c.Batch, "between 1 and 256")
	wrong(c.MaxData < 0 || c.MaxData > maxData, "max_data", c.MaxData, "between 0 and 1024 bytes")
	wrong(c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute, "timeout", c.Timeout, "between 100ms and 1m")
	wrong(c.ParallelRequests < 1 || c.ParallelRequests > 1024, "parallel_requests", c.ParallelRequests, "between 1 and 1024")
	for _, err := range c.TLS.Faults() {
		faults = append(faults, fmt.Errorf("tls.%w", err))
	}
	return made, faults
}

// splitURL returns what to ask, and the socket that all requests go to, if
// there is one.
func splitURL(s string) (to, unix string, ok bool) {
	if path, found := strings.CutPrefix(s, "unix:"); found {
		return "http://localhost/", path, filepath.IsAbs(path)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return "", "", false
	}
	return s, "", true
}

// readKey returns what a secret signs with. The error carries none of it.
func readKey(s driver.Secret) ([]byte, error) {
	b, err := s.Read()
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(b), "whsec_"))
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, errors.New("is not base64 of 24 to 64 bytes, such as whsec_…")
	}
	return key, nil
}
