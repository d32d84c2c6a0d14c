package mqtt

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// URL of the broker: mqtt://host:1883 or mqtts://host:8883.
	URL string `mapstructure:"url"`
	// ClientID is the name that the broker knows this connection by; empty is
	// one of its own, made at start.
	ClientID string        `mapstructure:"client_id"`
	Username string        `mapstructure:"username"`
	Password driver.Secret `mapstructure:"password"`
	TLS      outbound.TLS  `mapstructure:"tls"`
	// Topic is text in which {{.client}} stands for what the device calls
	// "client" in its target; other names do as well.
	Topic string `mapstructure:"topic"`
	// Payload is text as Topic is, in which {{.confirm}} stands for the code
	// that a device has to repeat.
	Payload string `mapstructure:"payload"`
	QoS     int    `mapstructure:"qos"` // 0 or 1
	// MessageExpiry is how long the broker keeps a kick for a device that is
	// away (MQTT 5, section 3.3.2.3.3), in whole seconds; 0 is for ever.
	MessageExpiry time.Duration `mapstructure:"message_expiry"`
	KeepAlive     time.Duration `mapstructure:"keep_alive"`
	// Timeout bounds connecting, writing and the wait for an answer, each.
	Timeout time.Duration `mapstructure:"timeout"`
	// ParallelRequests is how many kicks wait for their answer at once, or
	// fewer where the broker's receive maximum is smaller.
	ParallelRequests int `mapstructure:"parallel_requests"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		Topic:            "edition/kick/{{.client}}",
		Payload:          "NOTIFY",
		QoS:              1,
		MessageExpiry:    10 * time.Minute,
		KeepAlive:        30 * time.Second,
		Timeout:          5 * time.Second,
		ParallelRequests: 64,
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
	url            *url.URL
	address        string
	tls            *tls.Config // nil: plain
	clientID       string
	password       []byte
	topic, payload template
	fields         []string // what a device must tell
}

const (
	maxTopic    = 1024 // bytes, filled in
	maxPayload  = 4096
	maxClientID = 128
	maxExpiry   = 30 * 24 * time.Hour
)

func (c Config) compile() (made compiled, faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := made.broker(c.URL); err != nil {
		wrong("url: %w", err)
	} else if made.url.Scheme == "mqtts" {
		errs := c.TLS.Faults()
		for _, err := range errs {
			wrong("tls.%w", err)
		}
		if len(errs) == 0 {
			var err error
			if made.tls, err = c.TLS.Config(); err != nil {
				wrong("tls.%w", err)
			}
		}
	} else if c.TLS != (outbound.TLS{}) {
		wrong("tls: is given, but url is not mqtts://")
	}
	made.clientID = c.ClientID
	switch {
	case c.ClientID == "":
		made.clientID = "edition-" + rand.Text()[:15] // 23 in all: MQTT 5, section 3.1.3.1
	case len(c.ClientID) > maxClientID || !utf8.ValidString(c.ClientID) || strings.ContainsRune(c.ClientID, 0):
		wrong("client_id: is not 1 to %d bytes of text", maxClientID)
	}
	if !c.Password.IsZero() {
		var err error
		if made.password, err = c.Password.Read(); err != nil {
			wrong("password: %w", err)
		}
	}
	faults = append(faults, made.templates(c)...)
	if c.QoS != 0 && c.QoS != 1 {
		wrong("qos: %d is not 0 or 1", c.QoS)
	}
	if c.MessageExpiry != 0 && (c.MessageExpiry < time.Second || c.MessageExpiry > maxExpiry || c.MessageExpiry%time.Second != 0) {
		wrong("message_expiry: %v is not 0 (for ever) or whole seconds up to %v", c.MessageExpiry, maxExpiry)
	}
	if c.KeepAlive < time.Second || c.KeepAlive > 65535*time.Second {
		wrong("keep_alive: %v is not between 1s and 65535s", c.KeepAlive)
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > time.Minute {
		wrong("timeout: %v is not between 10ms and 1m", c.Timeout)
	}
	if c.ParallelRequests < 1 || c.ParallelRequests > 4096 {
		wrong("parallel_requests: %d is not between 1 and 4096", c.ParallelRequests)
	}
	return made, faults
}

// broker reads the URL. The error does not repeat it: it may hold a password.
func (m *compiled) broker(text string) error {
	if text == "" {
		return errors.New("is not given")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Hostname() == "":
		return errors.New("is not a URL such as mqtts://broker.example:8883")
	case u.Scheme != "mqtt" && u.Scheme != "mqtts":
		return fmt.Errorf("scheme %q is not mqtt or mqtts", u.Scheme)
	case u.User != nil:
		return errors.New("holds a name or a password: write username and password")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("has more than a host and a port")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"mqtt": "1883", "mqtts": "8883"}[u.Scheme]
	}
	m.url, m.address = u, net.JoinHostPort(u.Hostname(), port)
	return nil
}

func (m *compiled) templates(c Config) (faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	var err error
	m.topic, err = parseTemplate(c.Topic)
	switch {
	case err != nil:
		wrong("topic: %q: %w", c.Topic, err)
	case m.topic.has(confirmField):
		wrong("topic: %q: {{.confirm}} belongs into payload", c.Topic)
	case len(m.topic.fields) == 0:
		wrong("topic: %q is the same for all devices: it has no field such as {{.client}}", c.Topic)
	case m.topic.max > maxTopic:
		wrong("topic: %q may take %d bytes, more than %d", c.Topic, m.topic.max, maxTopic)
	}
	for _, p := range m.topic.parts {
		if strings.ContainsAny(p.text, "+#") {
			wrong("topic: %q: + and # are for subscribers", c.Topic)
			break
		}
	}
	m.payload, err = parseTemplate(c.Payload)
	switch {
	case err != nil:
		wrong("payload: %q: %w", c.Payload, err)
	case m.payload.max > maxPayload:
		wrong("payload: %q may take %d bytes, more than %d", c.Payload, m.payload.max, maxPayload)
	}
	m.fields = append(m.fields, m.topic.fields...)
	for _, f := range m.payload.fields {
		if !m.topic.has(f) {
			m.fields = append(m.fields, f)
		}
	}
	return faults
}
