package configs

import (
	_ "embed" // the samples
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
)

// ServerSample is a commented configuration of a server that says the
// defaults.
//
//go:embed server.yaml
var ServerSample string

// RelaySample is a commented configuration of a relay that says the defaults,
// with one upstream.
//
//go:embed relay.yaml
var RelaySample string

// Show writes the configuration in force, a [Server] or a [Relay], as YAML
// that can be loaded again once its secrets are filled in. What came from a
// file is shown by the file's name, other secrets as <secret>.
func Show[C Server | Relay](w io.Writer, cfg C) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(withoutTokens(any(cfg))); err != nil {
		return err
	}
	return e.Close()
}

func withoutTokens(cfg any) any {
	hide := func(peers []Peer) []Peer {
		peers = slices.Clone(peers)
		for i := range peers {
			if peers[i].TokenFile != "" {
				peers[i].Token = ""
			}
		}
		return peers
	}
	switch c := cfg.(type) {
	case Server:
		c.Relays, c.Gateway.Callers = hide(c.Relays), c.Gateway.withoutTokens()
		return c
	case Relay:
		c.Relays, c.Gateway.Callers = hide(c.Relays), c.Gateway.withoutTokens()
		c.Upstreams = slices.Clone(c.Upstreams)
		for i := range c.Upstreams {
			if c.Upstreams[i].TokenFile != "" {
				c.Upstreams[i].Token = ""
			}
		}
		return c
	}
	return cfg
}
