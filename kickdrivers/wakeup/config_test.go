package wakeup_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/wakeup"
)

func TestFaults(t *testing.T) {
	lab := wakeup.Network{NetID: "lab-1", CIDRs: []string{"10.0.0.0/8"}}
	for _, c := range []struct {
		name string
		set  func(*wakeup.Config)
		want []string // the beginnings of all faults
	}{
		{"none", func(*wakeup.Config) {}, nil},
		{"all keys", func(c *wakeup.Config) {
			c.URL, c.RealIP, c.ClientDN, c.Interval, c.Ports = "http://127.0.0.1:8000/push/", "fd00::1", "CN=edition", 0, "4000"
			c.Networks = []wakeup.Network{lab, {MCC: "214", MNC: "07", CIDRs: []string{"fd00::/8"}}}
		}, nil},
		{"no URL", func(c *wakeup.Config) { c.URL = "" }, []string{"url: is not given"}},
		{"another scheme", func(c *wakeup.Config) { c.URL = "mqtt://x" }, []string{`url: scheme "mqtt"`}},
		{"no host", func(c *wakeup.Config) { c.URL = "https:///x" }, []string{"url: is not a URL"}},
		{"a password", func(c *wakeup.Config) { c.URL = "https://me:s3cret@x" }, []string{"url: has more than"}},
		{"a query", func(c *wakeup.Config) { c.URL = "https://x/?a=b" }, []string{"url: has more than"}},
		{"TLS files", func(c *wakeup.Config) { c.TLS.CertFile = "/nowhere" }, []string{"tls.key_file: "}},
		{"addresses", func(c *wakeup.Config) { c.RealIP, c.ClientDN = "host", "a\nb" }, []string{"real_ip: ", "client_dn: "}},
		{"nobody", func(c *wakeup.Config) { c.Interval = 0 }, []string{"networks: none is given and interval is 0"}},
		{"networks", func(c *wakeup.Config) {
			c.Networks = []wakeup.Network{
				{},
				{NetID: "a b", CIDRs: []string{"10.0.0.0/8"}},
				{MCC: "21", CIDRs: []string{"10.0.0.0/8"}},
				{NetID: "x", CIDRs: []string{"10.0.0.0", "10.0.0.1/8", "::ffff:10.0.0.0/104"}},
			}
		}, []string{
			"networks[0].netid: is not given", "networks[0].cidrs: none", `networks[1].netid: "a b"`,
			`networks[2].mcc: "21"`, `networks[2].mnc: ""`,
			"networks[3].cidrs[0]: ", "networks[3].cidrs[1]: ", "networks[3].cidrs[2]: ",
		}},
		{"numbers", func(c *wakeup.Config) {
			c.Interval, c.Ports, c.Timeout, c.ParallelRequests = time.Millisecond, "5-4", 0, 0
		}, []string{"interval: 1ms", `ports: "5-4"`, "timeout: 0s", "parallel_requests: 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := wakeup.DefaultConfig()
			conf.URL = "https://wakeup.carrier.example"
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
			if _, err := wakeup.New(conf, driver.Env{}); !errors.Is(err, edition.ErrConfig) {
				t.Errorf("New: %v", err)
			}
		})
	}
}
