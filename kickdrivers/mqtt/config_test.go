package mqtt_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/mqtt"
)

func TestFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		set  func(*mqtt.Config)
		want []string // the beginnings of all faults
	}{
		{"none", func(*mqtt.Config) {}, nil},
		{"TLS", func(c *mqtt.Config) { c.URL = "mqtts://broker.example" }, nil},
		{"no URL", func(c *mqtt.Config) { c.URL = "" }, []string{"url: is not given"}},
		{"another scheme", func(c *mqtt.Config) { c.URL = "http://127.0.0.1" }, []string{`url: scheme "http" is not mqtt or mqtts`}},
		{"no host", func(c *mqtt.Config) { c.URL = "mqtt://:1883" }, []string{"url: is not a URL"}},
		{"a path", func(c *mqtt.Config) { c.URL = "mqtt://127.0.0.1/x" }, []string{"url: has more than"}},
		{"a password in it", func(c *mqtt.Config) { c.URL = "mqtt://me:s3cret@127.0.0.1" }, []string{"url: holds a name or a password"}},
		{"a password in nonsense", func(c *mqtt.Config) { c.URL = "mqtt://me:s3cret@127.0.0.1:x" }, []string{"url: is not a URL"}},
		{"TLS without TLS", func(c *mqtt.Config) { c.TLS.CAFile = empty }, []string{"tls: is given, but"}},
		{"TLS files", func(c *mqtt.Config) {
			c.URL, c.TLS.CAFile, c.TLS.CertFile = "mqtts://127.0.0.1", empty, empty
		}, []string{"tls.ca_file: ", "tls.key_file: "}},
		{"an empty password", func(c *mqtt.Config) { c.Password.File = empty }, []string{"password: "}},
		{"client", func(c *mqtt.Config) { c.ClientID = strings.Repeat("x", 129) }, []string{"client_id: "}},
		{"one topic for all", func(c *mqtt.Config) { c.Topic = "kick" }, []string{`topic: "kick" is the same for all`}},
		{"a wildcard", func(c *mqtt.Config) { c.Topic = "a/+/{{.client}}" }, []string{"topic: "}},
		{"a NUL", func(c *mqtt.Config) { c.Topic = "a\x00/{{.client}}" }, []string{"topic: "}},
		{"confirm in the topic", func(c *mqtt.Config) { c.Topic = "{{.client}}/{{.confirm}}" }, []string{"topic: "}},
		{"driver in the topic", func(c *mqtt.Config) { c.Topic = "{{.driver}}" }, []string{"topic: "}},
		{"no field", func(c *mqtt.Config) { c.Topic = "{{client}}" }, []string{"topic: "}},
		{"code", func(c *mqtt.Config) { c.Topic = `{{printf "%s" .client}}` }, []string{"topic: "}},
		{"a long topic", func(c *mqtt.Config) { c.Topic = "{{.client}}" + strings.Repeat("x", 1000) }, []string{"topic: "}},
		{"no payload", func(c *mqtt.Config) { c.Payload = "" }, []string{"payload: "}},
		{"a large payload", func(c *mqtt.Config) { c.Payload = strings.Repeat("x", 5000) }, []string{"payload: "}},
		{"a condition", func(c *mqtt.Config) { c.Payload = "{{if .x}}a{{end}}" }, []string{"payload: "}},
		{"numbers", func(c *mqtt.Config) {
			c.QoS, c.MessageExpiry, c.KeepAlive, c.Timeout, c.ParallelRequests = 2, 1500*time.Millisecond, 0, 0, 0
		}, []string{"qos: 2 is not", "message_expiry: 1.5s", "keep_alive: 0s", "timeout: 0s", "parallel_requests: 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := mqtt.DefaultConfig()
			conf.URL = "mqtt://127.0.0.1:1"
			c.set(&conf)
			faults := conf.Faults()
			if len(faults) != len(c.want) {
				t.Fatalf("faults %q, want %q", faults, c.want)
			}
			for i, f := range faults {
				if !strings.HasPrefix(f.Error(), c.want[i]) || strings.Contains(f.Error(), "s3cret") {
					t.Errorf("fault %d is %q, want %q…", i, f, c.want[i])
				}
			}
			if len(c.want) == 0 {
				return
			}
			if _, err := mqtt.New(conf, driver.Env{}); !errors.Is(err, edition.ErrConfig) {
				t.Errorf("New: %v", err)
			}
		})
	}
}
