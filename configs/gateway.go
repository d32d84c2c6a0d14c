package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Gateway lets programs outside ask for kicks (POST /v1/kicks), on a listener
// of its own.
type Gateway struct {
	Listen   string        `yaml:"listen"` // host:port; empty: off
	TLS      TLS           `yaml:"tls"`
	Callers  []Caller      `yaml:"callers"`
	Keep     time.Duration `yaml:"keep"`     // how long an outcome can be asked for
	Outcomes int           `yaml:"outcomes"` // how many of each caller are kept
}

// Caller is a program that may ask for kicks. It proves itself by a bearer
// token or by a client certificate.
type Caller struct {
	Name      string `yaml:"name"`
	Token     Secret `yaml:"token,omitempty"`
	TokenFile string `yaml:"token_file,omitempty"`
	CertName  string `yaml:"cert_name,omitempty"` // common name or DNS name in the certificate
	Rights    `yaml:",inline"`
}

// Rights are what somebody may ask for.
type Rights struct {
	Drivers   []string `yaml:"drivers"`   // names of entries of kicks
	Networks  []string `yaml:"networks"`  // CIDRs that targets with an address must lie in; none: as the drivers have it
	Confirmed bool     `yaml:"confirmed"` // routes that it names have been confirmed
	Rate      float64  `yaml:"rate"`      // kicks a second; 0 is 100
	Burst     int      `yaml:"burst"`     // kicks at once; 0 is 100
}

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

const (
	defaultCallerRate  = 100
	defaultCallerBurst = 100
	// minToken is the shortest token that cannot be guessed, in letters.
	minToken = 16
)

func defaultRights() Rights {
	return Rights{Drivers: []string{}, Networks: []string{}, Rate: defaultCallerRate, Burst: defaultCallerBurst}
}

func defaultGateway() Gateway {
	return Gateway{Callers: []Caller{}, Keep: 10 * time.Minute, Outcomes: 10_000}
}

func defaultWakeup() Wakeup {
	return Wakeup{
		CertNames: []string{}, Proxies: []string{}, Allow: []string{},
		Global: WakeupGlobal{Networks: []WakeupNetwork{}, CheckEvery: 3 * time.Minute, Timeout: 5 * time.Second, Parallel: 256},
	}
}

// withoutTokens are the callers, without tokens that a file holds.
func (g Gateway) withoutTokens() []Caller {
	callers := slices.Clone(g.Callers)
	for i := range callers {
		if callers[i].TokenFile != "" {
			callers[i].Token = ""
		}
	}
	return callers
}

// Prefixes returns CIDRs that were checked.
func Prefixes(cidrs []string) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(cidrs))
	for _, s := range cidrs {
		if p, err := netip.ParsePrefix(s); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// check needs the kinds of drivers by the names of their entries.
func (g *Gateway) check(c *check, kinds map[string]string) {
	c.between("gateway.keep", g.Keep, time.Second, day)
	c.atLeast("gateway.outcomes", float64(g.Outcomes), 1)
	c.keyPair("gateway.tls", g.TLS.CertFile, g.TLS.KeyFile)
	c.certs("gateway.tls.client_ca_file", g.TLS.ClientCAFile)
	if g.Listen != "" {
		c.address("gateway.listen", g.Listen)
		if len(g.Callers) == 0 {
			c.fault("gateway.callers", "empty: nobody could ask for anything")
		}
	}
	names := make(map[string]int)
	for i := range g.Callers {
		caller := &g.Callers[i]
		path := fmt.Sprintf("gateway.callers[%d]", i)
		if caller.Name != "" {
			path += fmt.Sprintf(" (%s)", caller.Name)
		}
		c.name(path+".name", caller.Name)
		if j, twice := names[caller.Name]; twice {
			c.fault(path+".name", "%q is the name of gateway.callers[%d] already", caller.Name, j)
		}
		names[caller.Name] = i
		c.token(path, &caller.Token, caller.TokenFile)
		switch {
		case caller.Token == "" && caller.TokenFile == "" && caller.CertName == "":
			c.fault(path, "no proof: give token_file or cert_name")
		case caller.Token != "" && len(caller.Token) < minToken:
			c.fault(path+".token_file", "the token is shorter than %d letters: it could be guessed", minToken)
		}
		if caller.CertName != "" && g.TLS.ClientCAFile == "" {
			c.fault(path+".cert_name", "needs gateway.tls.client_ca_file to check certificates with")
		}
		if len(caller.Drivers) == 0 {
			c.fault(path+".drivers", "empty: name the entries of kicks that it may use")
		}
		caller.Rights.check(c, path, kinds)
	}
}

func (r *Rights) check(c *check, path string, kinds map[string]string) {
	for i, name := range r.Drivers {
		if _, known := kinds[name]; !known && kinds != nil {
			c.fault(fmt.Sprintf("%s.drivers[%d]", path, i), "%q is not the name of an entry of kicks", name)
		}
	}
	c.cidrs(path+".networks", r.Networks)
	if r.Rate == 0 {
		r.Rate = defaultCallerRate
	}
	if r.Burst == 0 {
		r.Burst = defaultCallerBurst
	}
	if r.Rate < 0.01 || r.Rate > 1e6 {
		c.fault(path+".rate", "%s is not between 0.01 and 1e6 kicks a second", plain(r.Rate))
	}
	c.atLeast(path+".burst", float64(r.Burst), 1)
}

func (c *check) cidrs(path string, list []string) {
	for i, s := range list {
		if p, err := netip.ParsePrefix(s); err != nil {
			c.fault(fmt.Sprintf("%s[%d]", path, i), "%q is not a CIDR such as 10.0.0.0/8", s)
		} else if p != p.Masked() || p.Addr().Is4In6() {
			c.fault(fmt.Sprintf("%s[%d]", path, i), "%q is not a network: write %s", s, p.Masked())
		}
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
