package configs

import (
	"fmt"
	"slices"
	"time"
)

// Wakeup speaks the carriers' wake-up API, on a listener of its own.
type Wakeup struct {
	Listen    string       `yaml:"listen"` // host:port; empty: off
	TLS       TLS          `yaml:"tls"`
	CertNames []string     `yaml:"cert_names"` // in client certificates; none: any that tls.client_ca_file has signed
	Proxies   []string     `yaml:"proxies"`    // CIDRs of TLS terminators, whose X-Client-Cert-… headers are believed
	Allow     []string     `yaml:"allow"`      // CIDRs of callers that need no certificate
	Driver    string       `yaml:"driver"`     // the entry of kicks that the local node sends by; empty: no local node
	Global    WakeupGlobal `yaml:"global"`
}

// WakeupGlobal is the table of a global node; without networks there is none.
type WakeupGlobal struct {
	Networks   []WakeupNetwork `yaml:"networks"`
	CheckEvery time.Duration   `yaml:"check_every"` // of the local nodes
	Timeout    time.Duration   `yaml:"timeout"`     // of one request to a local node
	Parallel   int             `yaml:"parallel"`    // requests to one network's node under way
	CAFile     string          `yaml:"ca_file"`     // towards local nodes
	CertFile   string          `yaml:"cert_file"`
	KeyFile    string          `yaml:"key_file"`
}

// WakeupNetwork is one of a carrier's networks.
type WakeupNetwork struct {
	NetID     string   `yaml:"netid"` // empty: MCC-MNC.default
	MCC       string   `yaml:"mcc"`
	MNC       string   `yaml:"mnc"`
	Host      string   `yaml:"host"`      // URL of its local node; empty: this node
	Range     []string `yaml:"range"`     // CIDRs
	Protocols []string `yaml:"protocols"` // udp, tcp; none: both
	Offline   bool     `yaml:"offline"`
}

func defaultWakeup() Wakeup {
	return Wakeup{
		CertNames: []string{}, Proxies: []string{}, Allow: []string{},
		Global: WakeupGlobal{Networks: []WakeupNetwork{}, CheckEvery: 3 * time.Minute, Timeout: 5 * time.Second, Parallel: 256},
	}
}

func (w *Wakeup) check(c *check, kinds map[string]string) {
	c.keyPair("wakeup.tls", w.TLS.CertFile, w.TLS.KeyFile)
	c.certs("wakeup.tls.client_ca_file", w.TLS.ClientCAFile)
	c.cidrs("wakeup.proxies", w.Proxies)
	c.cidrs("wakeup.allow", w.Allow)
	if w.Listen != "" {
		c.address("wakeup.listen", w.Listen)
		if w.Driver == "" && len(w.Global.Networks) == 0 {
			c.fault("wakeup", "neither a local node (driver) nor a global one (global.networks)")
		}
		if w.TLS.ClientCAFile == "" && len(w.Proxies) == 0 && len(w.Allow) == 0 {
			c.fault("wakeup", "nobody could call: give tls.client_ca_file, proxies or allow")
		}
	}
	if len(w.CertNames) > 0 && w.TLS.ClientCAFile == "" {
		c.fault("wakeup.cert_names", "need wakeup.tls.client_ca_file to check certificates with")
	}
	if kind, known := kinds[w.Driver]; w.Driver != "" && kinds != nil {
		if !known {
			c.fault("wakeup.driver", "%q is not the name of an entry of kicks", w.Driver)
		} else if kind != "udp" {
			c.fault("wakeup.driver", "%q is an entry of driver %s, not udp", w.Driver, kind)
		}
	}
	w.Global.check(c, w.Driver)
}

func (g *WakeupGlobal) check(c *check, driver string) {
	c.between("wakeup.global.check_every", g.CheckEvery, time.Second, day)
	c.between("wakeup.global.timeout", g.Timeout, 100*time.Millisecond, time.Minute)
	c.atLeast("wakeup.global.parallel", float64(g.Parallel), 1)
	c.certs("wakeup.global.ca_file", g.CAFile)
	c.keyPair("wakeup.global", g.CertFile, g.KeyFile)
	seen := make(map[string]int)
	for i := range g.Networks {
		n := &g.Networks[i]
		path := fmt.Sprintf("wakeup.global.networks[%d]", i)
		if n.MCC != "" || n.MNC != "" {
			c.digits(path+".mcc", n.MCC, 3, 3)
			c.digits(path+".mnc", n.MNC, 2, 3)
		}
		switch {
		case n.NetID == "" && n.MCC == "":
			c.fault(path, "give netid, or mcc and mnc: callers name a network by one of them")
		case n.NetID == "":
			n.NetID = n.MCC + "-" + n.MNC + ".default"
		}
		if j, twice := seen[n.NetID]; twice && n.NetID != "" {
			c.fault(path+".netid", "%q is that of wakeup.global.networks[%d] already", n.NetID, j)
		}
		seen[n.NetID] = i
		if n.Host != "" {
			c.url(path+".host", n.Host)
		} else if driver == "" {
			c.fault(path+".host", "empty: then wakeup.driver has to name the entry to send by")
		}
		if len(n.Range) == 0 {
			c.fault(path+".range", "empty: no address would lie in it")
		}
		c.cidrs(path+".range", n.Range)
		for k, p := range n.Protocols {
			c.oneOf(fmt.Sprintf("%s.protocols[%d]", path, k), p, "udp", "tcp")
		}
	}
}

// digits wants low to high of them. YAML reads 07 as the number 7, so codes
// are written in quotes.
func (c *check) digits(path, s string, low, high int) {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	if len(s) < low || len(s) > high || slices.ContainsFunc([]rune(s), func(r rune) bool { return !isDigit(r) }) {
		c.fault(path, "%q is not %d to %d digits, in quotes", s, low, high)
	}
}
