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
	Token     Secret `yaml:"token,omitempty"` // or several, one a line
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
		case slices.ContainsFunc(caller.Token.Tokens(), func(t string) bool { return len(t) < minToken }):
			c.fault(path+".token_file", "a token is shorter than %d letters: it could be guessed", minToken)
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
