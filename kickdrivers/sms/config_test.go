package sms_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/sms"
)

// good are configurations without faults, for both ways.
func good(t *testing.T) map[string]sms.Config {
	viaSMSC := sms.DefaultConfig()
	viaSMSC.Prefixes = []string{"+34", "+351"}
	viaSMSC.SMPP.Addresses, viaSMSC.SMPP.SystemID, viaSMSC.SMPP.Password = []string{"smpp://127.0.0.1:2775"}, "edition", secret(t, "secret\n")
	viaKannel := viaSMSC
	viaKannel.Via, viaKannel.SMPP = "kannel", sms.DefaultConfig().SMPP
	viaKannel.Kannel.URL, viaKannel.Kannel.Username, viaKannel.Kannel.Password = "http://127.0.0.1:13013/cgi-bin/sendsms", "edition", secret(t, "a longer secret")
	return map[string]sms.Config{"smpp": viaSMSC, "kannel": viaKannel}
}

// TestFaults: each mistake is found, named by its key, and is the only one.
func TestFaults(t *testing.T) {
	for name, c := range good(t) {
		if faults := c.Faults(); len(faults) > 0 {
			t.Fatalf("%s: %v", name, faults)
		}
	}
	missing := driver.Secret{File: filepath.Join(t.TempDir(), "none")}
	for _, c := range []struct {
		way, want string
		change    func(*sms.Config)
	}{
		{"smpp", "prefixes: none", func(c *sms.Config) { c.Prefixes = nil }},
		{"smpp", `prefixes[1]: "34"`, func(c *sms.Config) { c.Prefixes = []string{"+34", "34"} }},
		{"smpp", `prefixes[0]: "+"`, func(c *sms.Config) { c.Prefixes = []string{"+"} }},
		{"smpp", `prefixes[0]: "+0034"`, func(c *sms.Config) { c.Prefixes = []string{"+0034"} }},
		{"smpp", `deny[0]: "+34 803"`, func(c *sms.Config) { c.Deny = []string{"+34 803"} }},
		{"smpp", `via: "smtp"`, func(c *sms.Config) { c.Via = "smtp" }},
		{"smpp", `form: "mms"`, func(c *sms.Config) { c.Form = "mms" }},
		{"smpp", `alphabet: "ascii"`, func(c *sms.Config) { c.Alphabet = "ascii" }},
		{"kannel", "alphabet: latin1", func(c *sms.Config) { c.Alphabet = "latin1" }},
		{"smpp", "text: is empty", func(c *sms.Config) { c.Text = "  " }},
		{"smpp", "text: is not UTF-8", func(c *sms.Config) { c.Text = "a\x00" }},
		{"smpp", `text: "{{.Number}}"`, func(c *sms.Config) { c.Text = "{{.Number}}" }},
		{"smpp", "text: has characters that are not in the default", func(c *sms.Config) { c.Alphabet, c.Text = "gsm", "起" }},
		{"smpp", "text: has characters that are not in ISO", func(c *sms.Config) { c.Alphabet, c.Text = "latin1", "€" }},
		{"smpp", "text: the message with a code would have 161 characters", func(c *sms.Config) { c.Text = strings.Repeat("x", 152) }},
		{"smpp", "text: the message with a code would have 162 characters", func(c *sms.Config) { c.Text = strings.Repeat("€", 77)[:76*3] + "x" }},
		{"smpp", "text: the message with a code would have 142 octets", func(c *sms.Config) { c.Text = strings.Repeat("起", 62) }},
		{"smpp", "text: the message with a code would have 141 octets", func(c *sms.Config) { c.Form, c.Port, c.Text = "binary", 1, strings.Repeat("x", 125) }},
		{"smpp", "port: 0 is not", func(c *sms.Config) { c.Form = "binary" }},
		{"smpp", "source_port: 70000 is not", func(c *sms.Config) { c.Form, c.Port, c.SourcePort = "binary", 1, 70000 }},
		{"smpp", `hex: "abc" is not`, func(c *sms.Config) { c.Form, c.Port, c.Hex = "binary", 1, "abc" }},
		{"smpp", "href: is not given", func(c *sms.Config) { c.Form = "si" }},
		{"smpp", `action: "ring"`, func(c *sms.Config) { c.Form, c.Href, c.Action = "si", "http://a", "ring" }},
		{"smpp", "text: the message with a code would have", func(c *sms.Config) { c.Form, c.Href = "si", "http://"+strings.Repeat("a", 110) }},
		{"smpp", `from: "Edition Limited" is longer`, func(c *sms.Config) { c.From = "Edition Limited" }},
		{"smpp", "from: is longer than 20", func(c *sms.Config) { c.From = strings.Repeat("1", 21) }},
		{"kannel", "from: ", func(c *sms.Config) { c.From = "a\r\nX: y" }},
		{"smpp", "validity: 1s", func(c *sms.Config) { c.Validity = time.Second }},
		{"smpp", "protocol_id: 256", func(c *sms.Config) { c.ProtocolID = 256 }},
		{"smpp", "priority: 4", func(c *sms.Config) { c.Priority = 4 }},
		{"smpp", "timeout: 0s", func(c *sms.Config) { c.Timeout = 0 }},
		{"smpp", "retry_after: 2h0m0s", func(c *sms.Config) { c.RetryAfter = 2 * time.Hour }},
		{"smpp", "smpp.addresses: none", func(c *sms.Config) { c.SMPP.Addresses = nil }},
		{"smpp", `smpp.addresses[0]: "127.0.0.1:2775"`, func(c *sms.Config) { c.SMPP.Addresses = []string{"127.0.0.1:2775"} }},
		{"smpp", `smpp.addresses[1]: "smpp://a"`, func(c *sms.Config) { c.SMPP.Addresses = []string{"smpp://a:1", "smpp://a"} }},
		{"smpp", `smpp.addresses[0]: "smpp://u:p@a:1"`, func(c *sms.Config) { c.SMPP.Addresses = []string{"smpp://u:p@a:1"} }},
		{"smpp", "smpp.system_id: is not given", func(c *sms.Config) { c.SMPP.SystemID = "" }},
		{"smpp", "smpp.system_id: \"12345", func(c *sms.Config) { c.SMPP.SystemID = "1234567890123456" }},
		{"smpp", "smpp.system_type: ", func(c *sms.Config) { c.SMPP.SystemType = "1234567890123" }},
		{"smpp", "smpp.service_type: ", func(c *sms.Config) { c.SMPP.ServiceType = "123456" }},
		{"smpp", "smpp.password: is not given", func(c *sms.Config) { c.SMPP.Password = driver.Secret{} }},
		{"smpp", "smpp.password: open", func(c *sms.Config) { c.SMPP.Password = missing }},
		{"smpp", "smpp.password: is not at most 8", func(c *sms.Config) { c.SMPP.Password = secret(t, "123456789") }},
		{"smpp", "smpp.window: 0", func(c *sms.Config) { c.SMPP.Window = 0 }},
		{"smpp", "smpp.enquire_link: 1ms", func(c *sms.Config) { c.SMPP.EnquireLink = time.Millisecond }},
		{"smpp", "smpp.bind_timeout: 1h0m0s", func(c *sms.Config) { c.SMPP.BindTimeout = time.Hour }},
		{"smpp", "smpp.source_ton: 256", func(c *sms.Config) { c.SMPP.SourceTON = 256 }},
		{"smpp", "smpp.dest_npi: -1", func(c *sms.Config) { c.SMPP.DestNPI = -1 }},
		{"smpp", "smpp.tls.key_file: ", func(c *sms.Config) { c.SMPP.TLS.CertFile = "cert.pem" }},
		{"kannel", "kannel.url: is not like", func(c *sms.Config) { c.Kannel.URL = "127.0.0.1:13013" }},
		{"kannel", "kannel.url: has more", func(c *sms.Config) { c.Kannel.URL = "http://u:p@127.0.0.1/sendsms" }},
		{"kannel", "kannel.url: has more", func(c *sms.Config) { c.Kannel.URL = "http://127.0.0.1/sendsms?to=1" }},
		{"kannel", `kannel.method: "put"`, func(c *sms.Config) { c.Kannel.Method = "put" }},
		{"kannel", "kannel.username: ", func(c *sms.Config) { c.Kannel.Username = "" }},
		{"kannel", "kannel.password: is not given", func(c *sms.Config) { c.Kannel.Password = driver.Secret{} }},
		{"kannel", "kannel.password: is not printable", func(c *sms.Config) { c.Kannel.Password = secret(t, "a\nb") }},
		{"kannel", "kannel.smsc: ", func(c *sms.Config) { c.Kannel.SMSC = "ü" }},
		{"kannel", "kannel.parallel_requests: 0", func(c *sms.Config) { c.Kannel.ParallelRequests = 0 }},
	} {
		conf := good(t)[c.way]
		c.change(&conf)
		faults := conf.Faults()
		if len(faults) == 0 || !slices.ContainsFunc(faults, func(err error) bool { return strings.HasPrefix(err.Error(), c.want) }) {
			t.Errorf("faults %v, want %q", faults, c.want)
		}
		if len(faults) > 1 {
			t.Errorf("%s: more than one fault: %v", c.want, faults)
		}
		if d, err := sms.New(conf, driver.Env{}); !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%s: New = %v, %v", c.want, d, err)
		}
	}
}

// TestFits: what just fits is no fault.
func TestFits(t *testing.T) {
	for name, change := range map[string]func(*sms.Config){
		"160 characters with the code": func(c *sms.Config) { c.Text = strings.Repeat("x", 151) },
		"70 units with the code":       func(c *sms.Config) { c.Text = strings.Repeat("起", 61) },
		"140 octets with the code":     func(c *sms.Config) { c.Form, c.Port, c.Text = "binary", 1, strings.Repeat("x", 124) },
		"140 octets in hex":            func(c *sms.Config) { c.Form, c.Port, c.Hex = "binary", 1, strings.Repeat("00", 124) },
		"a binary of a code alone":     func(c *sms.Config) { c.Form, c.Port, c.Text = "binary", 1, "{{.Confirm}}" },
	} {
		for way, c := range good(t) {
			if change(&c); len(c.Faults()) > 0 {
				t.Errorf("%s, %s: %v", way, name, c.Faults())
			}
		}
	}
}
