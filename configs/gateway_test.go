package configs

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition"
)

// TestGatewayMistakes holds one configuration for each mistake and what is
// said of it.
func TestGatewayMistakes(t *testing.T) {
	token := write(t, "token", "0123456789abcdef")
	short, twoLines := write(t, "short", "guess-me"), write(t, "two", "0123456789abcdef\n\nguess-me-too\n")
	pem := write(t, "pem", "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n")
	caller := func(rest string) string {
		return "gateway: {callers: [{name: a, token_file: " + token + ", drivers: [udp], " + rest + "}]}"
	}
	network := func(rest string) string {
		return "wakeup: {driver: udp, global: {networks: [{netid: a, range: [10.0.0.0/8], " + rest + "}]}}"
	}
	for _, c := range []struct{ yaml, want string }{
		{"gateway: {listen: x}", `gateway.listen: "x" is not host:port`},
		{"gateway: {listen: ':0'}", `gateway.callers: empty`},
		{"gateway: {keep: 0}", `gateway.keep: 0s is not between 1s`},
		{"gateway: {outcomes: 0}", `gateway.outcomes: 0 is below 1`},
		{"gateway: {tls: {cert_file: a}}", `gateway.tls.key_file: missing`},
		{"gateway: {callers: [{name: a}]}", `gateway.callers[0] (a): no proof: give token_file or cert_name`},
		{"gateway: {callers: [{name: a}]}", `gateway.callers[0] (a).drivers: empty`},
		{"gateway: {callers: [{name: 'a b', drivers: [udp], token_file: " + token + "}]}", `"a b" is not a name`},
		{"gateway: {callers: [{name: a, token_file: " + short + "}]}", `(a).token_file: a token is shorter than 16`},
		{"gateway: {callers: [{name: a, token_file: " + twoLines + "}]}", `(a).token_file: a token is shorter than 16`},
		{"gateway: {callers: [{name: a, token_file: " + pem + "}]}", `(a).token_file: ` + pem + `: a line with spaces in it is not a token`},
		{"gateway: {callers: [{name: a, token_file: absent}]}", `(a).token_file: open absent`},
		{"gateway: {callers: [{name: a, cert_name: a}]}", `(a).cert_name: needs gateway.tls.client_ca_file`},
		{"gateway: {callers: [{name: a, driver: udp}]}", `gateway.callers[0].driver: no such key; did you mean drivers?`},
		{caller("drivers: [pigeon]"), "not YAML"},
		{strings.Replace(caller(""), "[udp]", "[pigeon]", 1), `(a).drivers[0]: "pigeon" is not the name of an entry of kicks`},
		{caller("networks: [10.0.0.1/8]"), `(a).networks[0]: "10.0.0.1/8" is not a network: write 10.0.0.0/8`},
		{caller("networks: [ten]"), `(a).networks[0]: "ten" is not a CIDR`},
		{caller("rate: -1"), `(a).rate: -1 is not between 0.01`},
		{caller("burst: -1"), `(a).burst: -1 is below 1`},
		{strings.Replace(caller(""), "}]", "}, {name: a, cert_name: x, drivers: [udp]}]", 1), `gateway.callers[1] (a).name: "a" is the name of gateway.callers[0] already`},
		{"wakeup: {listen: ':0'}", `wakeup: neither a local node (driver) nor a global one`},
		{"wakeup: {listen: ':0'}", `wakeup: nobody could call`},
		{"wakeup: {listen: x}", `wakeup.listen: "x" is not host:port`},
		{"wakeup: {driver: pigeon}", `wakeup.driver: "pigeon" is not the name of an entry of kicks`},
		{"wakeup: {driver: log}\nkicks: [{driver: log}]", `wakeup.driver: "log" is an entry of driver log, not udp`},
		{"wakeup: {allow: [x]}", `wakeup.allow[0]: "x" is not a CIDR`},
		{"wakeup: {proxies: ['::ffff:10.0.0.0/104']}", `wakeup.proxies[0]: "::ffff:10.0.0.0/104" is not a`},
		{"wakeup: {cert_names: [x]}", `wakeup.cert_names: need wakeup.tls.client_ca_file`},
		{"wakeup: {global: {check_every: 1ms}}", `wakeup.global.check_every: 1ms is not between 1s`},
		{"wakeup: {global: {timeout: 1h}}", `wakeup.global.timeout: 1h0m0s is not between`},
		{"wakeup: {global: {parallel: 0}}", `wakeup.global.parallel: 0 is below 1`},
		{network("mcc: 7, mnc: '07'"), `wakeup.global.networks[0].mcc: "7" is not 3 to 3 digits, in quotes`},
		{network("host: 'ftp://x'"), `wakeup.global.networks[0].host: "ftp://x" is not a URL`},
		{network("protocols: [sctp]"), `wakeup.global.networks[0].protocols[0]: "sctp" is not one of udp, tcp`},
		{"wakeup: {global: {networks: [{netid: a, range: [10.0.0.0/8]}]}}", `networks[0].host: empty: then wakeup.driver`},
		{"wakeup: {global: {networks: [{netid: a, host: 'http://x'}]}}", `networks[0].range: empty`},
		{"wakeup: {global: {networks: [{host: 'http://x'}]}}", `networks[0]: give netid, or mcc and mnc`},
		{"wakeup: {global: {networks: [{mcc: '001', mnc: '01', host: 'http://x'}, {netid: 001-01.default, host: 'http://x'}]}}", `networks[1].netid: "001-01.default" is that of wakeup.global.networks[0] already`},
	} {
		_, err := LoadServer(Source{File: write(t, "f.yaml", c.yaml)})
		if !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.yaml, err, c.want)
		}
	}
	text := "upstreams: [{url: 'http://x', token: t}]\nupstream_kicks: {drivers: [pigeon], networks: [x], rate: -1}"
	_, err := LoadRelay(Source{File: write(t, "f.yaml", text)})
	for _, want := range []string{`upstream_kicks.drivers[0]: "pigeon"`, `upstream_kicks.networks[0]: "x"`, `upstream_kicks.rate: -1`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := LoadServer(Source{File: write(t, "f.yaml", "upstream_kicks: {drivers: [udp]}")}); err == nil {
		t.Error("a server, which has no upstream, takes upstream_kicks")
	}
}

// TestGatewayDefaults: what a caller that says little may ask for.
func TestGatewayDefaults(t *testing.T) {
	token := write(t, "token", "0123456789abcdef\n")
	cfg, err := LoadServer(Source{File: write(t, "f.yaml", `
gateway:
  listen: 127.0.0.1:0
  callers: [{name: a, token_file: `+token+`, drivers: [udp], networks: [10.0.0.0/8, "2001:db8::/32"]}]
wakeup:
  listen: 127.0.0.1:0
  allow: [10.0.0.0/8]
  driver: udp
  global: {networks: [{mcc: "214", mnc: "07", range: [10.0.0.0/8]}]}
`)})
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.Gateway.Callers[0]
	if c.Rate != 100 || c.Burst != 100 || c.Confirmed || c.Token.Reveal() != "0123456789abcdef" || len(Prefixes(c.Networks)) != 2 {
		t.Errorf("got %+v", c)
	}
	if got := cfg.Wakeup.Global.Networks[0].NetID; got != "214-07.default" {
		t.Errorf("netid %q", got)
	}
	var shown bytes.Buffer
	if err := Show(&shown, cfg); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(shown.String(), "0123456789abcdef") {
		t.Error("config show tells a caller's token")
	}
}

// TestSampleSaysTheDefaultsOfCallers takes the comment signs away from the
// lists of the samples: they must then be what their keys can be.
func TestSampleSaysTheDefaultsOfCallers(t *testing.T) {
	for name, sample := range map[string]string{"server.yaml": ServerSample, "relay.yaml": RelaySample} {
		_, gateway, _ := strings.Cut(sample, "\ngateway:\n")
		gateway, wakeup, _ := strings.Cut(gateway, "\nwakeup:\n")
		gateway, _, _ = strings.Cut(gateway, "\n\n")
		wakeup, _, _ = strings.Cut(wakeup, "\n\n")
		said := regexp.MustCompile(`(?m)^( *)# `).ReplaceAllString("gateway:\n"+gateway+"\nwakeup:\n"+wakeup, "$1")
		said = strings.NewReplacer("callers: []", "callers:", "networks: []\n    -", "networks:\n    -").Replace(said)
		var got struct{ Gateway, Wakeup map[string]any }
		if err := yaml.Unmarshal([]byte(said), &got); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, said)
		}
		first := func(list any) map[string]any {
			l, _ := list.([]any)
			if len(l) != 1 {
				t.Fatalf("%s: no entry in %v", name, list)
			}
			return l[0].(map[string]any)
		}
		callers := first(got.Gateway["callers"])
		global, _ := got.Wakeup["global"].(map[string]any)
		networks := first(global["networks"])
		cfg := DefaultServer()
		for _, key := range keysAt(&cfg, "gateway.callers[0]") {
			if _, said := callers[key]; !said && key != "token" {
				t.Errorf("%s does not mention gateway.callers[].%s", name, key)
			}
		}
		for _, key := range keysAt(&cfg, "wakeup.global.networks[0]") {
			if _, said := networks[key]; !said {
				t.Errorf("%s does not mention wakeup.global.networks[].%s", name, key)
			}
		}
		if callers["rate"] != 100 || callers["burst"] != 100 || callers["confirmed"] != false {
			t.Errorf("%s: %v are not the defaults", name, callers)
		}
	}
}
