package sms

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// Via is who takes the messages: smpp (an SMSC) or kannel.
	Via string `mapstructure:"via"`
	// Prefixes are what numbers that may be kicked begin with, such as +34.
	// Deny takes out of these again: premium numbers, for one.
	Prefixes []string `mapstructure:"prefixes"`
	Deny     []string `mapstructure:"deny"`

	// Form is text, binary (octets for a port of the device) or si (a WAP
	// push service indication).
	Form string `mapstructure:"form"`
	// Text is what is sent. {{.Confirm}} stands for the code that a device
	// has to repeat; where it is missing, a code follows after a blank.
	Text string `mapstructure:"text"`
	// Alphabet of form text: auto, gsm, ucs2, or latin1 (smpp only).
	Alphabet string `mapstructure:"alphabet"`
	// Hex, if given, is what form binary sends in place of Text, before the
	// code if there is one.
	Hex string `mapstructure:"hex"`
	// Port and SourcePort address a program of the device, in form binary.
	Port       int `mapstructure:"port"`
	SourcePort int `mapstructure:"source_port"`
	// Href and Action are those of form si.
	Href   string `mapstructure:"href"`
	Action string `mapstructure:"action"`

	// From is the sender: a number with +, a short number, or a name of up to
	// 11 characters. Empty: the provider's choice.
	From string `mapstructure:"from"`
	// Validity is how long the network tries; 0 is the provider's choice.
	Validity time.Duration `mapstructure:"validity"`
	// ProtocolID is TP-PID: 64 is a message that the device drops (type 0),
	// 65 to 71 one that replaces the last (3GPP TS 23.040, 9.2.3.9).
	ProtocolID int `mapstructure:"protocol_id"`
	// Priority is 0 to 3.
	Priority int `mapstructure:"priority"`
	// Timeout is how long the provider's answer may take.
	Timeout time.Duration `mapstructure:"timeout"`
	// RetryAfter is how long the provider is left alone when it says that
	// there is too much and not for how long.
	RetryAfter time.Duration `mapstructure:"retry_after"`

	SMPP   SMPP   `mapstructure:"smpp"`
	Kannel Kannel `mapstructure:"kannel"`
}

// SMPP is the way to an SMSC.
type SMPP struct {
	// Addresses are smpp://host:port or smpps://host:port (TLS). The first
	// that can be bound is used.
	Addresses  []string      `mapstructure:"addresses"`
	SystemID   string        `mapstructure:"system_id"`
	Password   driver.Secret `mapstructure:"password"`
	SystemType string        `mapstructure:"system_type"`
	// ServiceType is that of each message.
	ServiceType string `mapstructure:"service_type"`
	// Receipts asks for a receipt of each message, and binds as a
	// transceiver, over which they come.
	Receipts bool `mapstructure:"receipts"`
	// Replace asks the SMSC to put a message in place of the last one to the
	// same number that still waits there.
	Replace bool `mapstructure:"replace"`
	// Window is how many messages may wait for their answers.
	Window int `mapstructure:"window"`
	// EnquireLink is how long the SMSC may be silent before it is asked
	// whether it is there.
	EnquireLink time.Duration `mapstructure:"enquire_link"`
	// BindTimeout bounds connecting and binding, for each address.
	BindTimeout time.Duration `mapstructure:"bind_timeout"`
	// SourceTON and SourceNPI say what From is; -1 is by its form. DestTON
	// and DestNPI say what the device's number is.
	SourceTON int          `mapstructure:"source_ton"`
	SourceNPI int          `mapstructure:"source_npi"`
	DestTON   int          `mapstructure:"dest_ton"`
	DestNPI   int          `mapstructure:"dest_npi"`
	TLS       outbound.TLS `mapstructure:"tls"`
}

// Kannel is the way to Kannel's sendsms URL.
type Kannel struct {
	URL string `mapstructure:"url"`
	// Method is post, which keeps the password and the number out of access
	// logs, or get.
	Method   string        `mapstructure:"method"`
	Username string        `mapstructure:"username"`
	Password driver.Secret `mapstructure:"password"`
	// SMSC names the connection that Kannel is to use; empty: Kannel's choice.
	SMSC string `mapstructure:"smsc"`
	// ParallelRequests is how many are under way at once.
	ParallelRequests int          `mapstructure:"parallel_requests"`
	TLS              outbound.TLS `mapstructure:"tls"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		Via: viaSMPP, Form: formText, Text: "Wake up", Alphabet: "auto",
		SourcePort: 49152, Action: "signal-high",
		Validity: 24 * time.Hour, Timeout: 10 * time.Second, RetryAfter: 10 * time.Second,
		SMPP: SMPP{
			Window: 10, EnquireLink: 30 * time.Second, BindTimeout: 10 * time.Second, Receipts: true,
			SourceTON: -1, SourceNPI: -1, DestTON: 1, DestNPI: 1,
		},
		Kannel: Kannel{Method: "post", ParallelRequests: 8},
	}
}

const (
	viaSMPP    = "smpp"
	viaKannel  = "kannel"
	formText   = "text"
	formBinary = "binary"
	formSI     = "si"
)

// Faults says all that is wrong with the configuration, each with its key.
// The secrets are read.
func (c Config) Faults() []error {
	var faults []error
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Prefixes) == 0 {
		wrong("prefixes: none is given, so that nobody could be kicked")
	}
	faults = append(faults, prefixFaults("prefixes", c.Prefixes)...)
	faults = append(faults, prefixFaults("deny", c.Deny)...)
	faults = append(faults, c.messageFaults()...)
	if c.Validity != 0 && (c.Validity < time.Minute || c.Validity > maxValidity) {
		wrong("validity: %v is not 0 (the provider's choice) or between 1m and 720h", c.Validity)
	}
	if c.ProtocolID < 0 || c.ProtocolID > 255 {
		wrong("protocol_id: %d is not between 0 and 255", c.ProtocolID)
	}
	if c.Priority < 0 || c.Priority > 3 {
		wrong("priority: %d is not between 0 and 3", c.Priority)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 2*time.Minute {
		wrong("timeout: %v is not between 100ms and 2m", c.Timeout)
	}
	if c.RetryAfter < time.Second || c.RetryAfter > time.Hour {
		wrong("retry_after: %v is not between 1s and 1h", c.RetryAfter)
	}
	switch c.Via {
	case viaSMPP:
		faults = append(faults, under("smpp", c.SMPP.faults())...)
	case viaKannel:
		faults = append(faults, under("kannel", c.Kannel.faults())...)
	default:
		wrong("via: %q is not smpp or kannel", c.Via)
	}
	return faults
}

const maxValidity = 30 * 24 * time.Hour

func under(key string, faults []error) []error {
	for i, err := range faults {
		faults[i] = fmt.Errorf("%s.%w", key, err)
	}
	return faults
}

var validPrefix = regexp.MustCompile(`^\+[1-9][0-9]{0,14}$`)

func prefixFaults(key string, prefixes []string) (faults []error) {
	for i, p := range prefixes {
		if !validPrefix.MatchString(p) {
			faults = append(faults, fmt.Errorf("%s[%d]: %q is not the beginning of a number such as +34", key, i, p))
		}
	}
	return faults
}

func (c SMPP) faults() (faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Addresses) == 0 {
		wrong("addresses: none is given")
	}
	for i, a := range c.Addresses {
		if _, err := parseAddress(a); err != nil {
			wrong("addresses[%d]: %q is not smpp://host:port or smpps://host:port", i, a)
		}
	}
	if c.SystemID == "" {
		wrong("system_id: is not given")
	}
	for _, f := range []struct {
		key, value string
		limit      int
	}{{"system_id", c.SystemID, 15}, {"system_type", c.SystemType, 12}, {"service_type", c.ServiceType, 5}} {
		if len(f.value) > f.limit || !printable(f.value) {
			wrong("%s: %q is not at most %d printable ASCII characters", f.key, f.value, f.limit)
		}
	}
	if password, err := c.Password.Read(); err != nil {
		wrong("password: %w", err)
	} else if len(password) > 8 || !printable(string(password)) {
		wrong("password: is not at most 8 printable ASCII characters, as SMPP has it")
	}
	if c.Window < 1 || c.Window > 1000 {
		wrong("window: %d is not between 1 and 1000", c.Window)
	}
	if c.EnquireLink < time.Second || c.EnquireLink > time.Hour {
		wrong("enquire_link: %v is not between 1s and 1h", c.EnquireLink)
	}
	if c.BindTimeout < 100*time.Millisecond || c.BindTimeout > 2*time.Minute {
		wrong("bind_timeout: %v is not between 100ms and 2m", c.BindTimeout)
	}
	for _, f := range []struct {
		key        string
		value, low int
	}{{"source_ton", c.SourceTON, -1}, {"source_npi", c.SourceNPI, -1}, {"dest_ton", c.DestTON, 0}, {"dest_npi", c.DestNPI, 0}} {
		if f.value < f.low || f.value > 255 {
			wrong("%s: %d is not between %d and 255", f.key, f.value, f.low)
		}
	}
	return append(faults, under("tls", c.TLS.Faults())...)
}

// address is one way to an SMSC.
type address struct {
	host string // with port
	tls  bool
}

func parseAddress(s string) (address, error) {
	scheme, host, found := strings.Cut(s, "://")
	if !found || scheme != "smpp" && scheme != "smpps" {
		return address{}, errors.New("unknown scheme")
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" || port == "" || strings.ContainsAny(host, "/@? ") {
		return address{}, errors.New("not a host and a port")
	}
	return address{host: host, tls: scheme == "smpps"}, nil
}

func (c Kannel) faults() (faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		wrong("url: is not like http://127.0.0.1:13013/cgi-bin/sendsms")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		wrong("url: has more than scheme, host and path; name and password have keys of their own")
	}
	if c.Method != "post" && c.Method != "get" {
		wrong("method: %q is not post or get", c.Method)
	}
	if c.Username == "" || !printable(c.Username) {
		wrong("username: %q is not printable ASCII", c.Username)
	}
	if password, err := c.Password.Read(); err != nil {
		wrong("password: %w", err)
	} else if !printable(string(password)) {
		wrong("password: is not printable ASCII")
	}
	if !printable(c.SMSC) {
		wrong("smsc: %q is not printable ASCII", c.SMSC)
	}
	if c.ParallelRequests < 1 || c.ParallelRequests > 1000 {
		wrong("parallel_requests: %d is not between 1 and 1000", c.ParallelRequests)
	}
	return append(faults, under("tls", c.TLS.Faults())...)
}

// printable reports whether s is ASCII from blank to tilde.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
