package configs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// write puts text into a file of its own and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := write(t, "server.yaml", "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\ndata: from-file\nstore: {ttl: 1h}\n")
	t.Setenv("EDITION_ADMIN", "127.0.0.1:3")
	t.Setenv("EDITION_DATA", "from-env")
	t.Setenv("EDITION_STORE_SYNC", "interval")
	cfg, err := LoadServer(Source{File: file, Set: map[string]any{"data": "from-flag"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"a key of the file", cfg.Listen, "127.0.0.1:1"},
		{"a nested key of the file", cfg.Store.TTL.String(), "1h0m0s"},
		{"environment over file", cfg.Admin, "127.0.0.1:3"},
		{"flag over environment", cfg.Data, "from-flag"},
		{"nested environment over default", cfg.Store.Sync, "interval"},
		{"default", cfg.Drain.String(), "10s"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
}

func TestEveryKeyByEnvironment(t *testing.T) {
	token := write(t, "token", "s3cret\n")
	for key, value := range map[string]string{
		"session.uaids":        "7",
		"session.message_rate": "2.5",
		"drain":                "3s",
		"relays":               `[{"name":"r1","token_file":"` + token + `"}]`,
		"kicks":                "[]",
		"keys_file":            "k.yaml",
		"tls.cert_file":        "",
	} {
		t.Setenv(EnvName(key), value)
	}
	cfg, err := LoadServer(Source{})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Session.UAIDs != 7 || cfg.Session.MessageRate != 2.5 || cfg.Drain != 3*time.Second || cfg.KeysFile != "k.yaml" {
		t.Errorf("got %+v", cfg)
	}
	if len(cfg.Relays) != 1 || cfg.Relays[0].Token.Reveal() != "s3cret" {
		t.Errorf("relays: %+v", cfg.Relays)
	}
	if len(cfg.Kicks) != 0 {
		t.Errorf("kicks: %v", cfg.Kicks)
	}
}

func TestUpstreamDefaults(t *testing.T) {
	file := write(t, "relay.yaml", `
name: edge
upstreams:
  - {name: a, url: "http://127.0.0.1:1", token: x}
  - {name: b, url: "https://push.example.org", token: y, relay: other, mode: poll, wait: 0, interval: 5s, custody: relay, kick: {driver: udp, port: 9}}
`)
	cfg, err := LoadRelay(Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	a, b := cfg.Upstreams[0], cfg.Upstreams[1]
	if a.Relay != "edge" || a.Mode != "auto" || a.Wait != 30*time.Second || a.Interval != 0 {
		t.Errorf("a: %+v", a)
	}
	if b.Relay != "other" || b.Mode != "poll" || b.Wait != 0 || b.Interval != 5*time.Second || b.Custody != "relay" || b.Kick["port"] != 9 {
		t.Errorf("b: %+v", b)
	}
}

// TestMistakes holds one configuration for each mistake and what is said of it.
func TestMistakes(t *testing.T) {
	empty := write(t, "empty", " \n")
	token := write(t, "token", "abc")
	for _, c := range []struct{ role, yaml, want string }{
		{"server", "listne: x", `listne: no such key; did you mean listen?`},
		{"server", "colour: x", `colour: no such key; there are admin, `},
		{"server", "Listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\nupstreams: []", `upstreams: no such key`},
		{"server", "store: {synk: always}", `store.synk: no such key; did you mean sync?`},
		{"server", "store: 5", `store: 5 is not a group of keys`},
		{"server", "store: {sync: sometimes}", `store.sync: "sometimes" is not one of always, interval`},
		{"server", "store: {ttl: 3 days}", `store.ttl: "3 days" is not a duration such as`},
		{"server", "drain: 1.5", `drain: 1.5 is not a duration such as`},
		{"server", "drain: true", `drain: true is not a duration such as`},
		{"server", "store: {ttl: 300}", `store.ttl: 300 is not a duration such as`},
		{"server", "store: {ttl: 0}", `store.ttl: 0s is not between 1s and`},
		{"server", "store: {interval: 2h}", `store.interval: 2h0m0s is not between 1ms and 1m0s`},
		{"server", "store: {memory_rows: 5}", `store.memory_rows: 5 is below 1000`},
		{"server", "store: {journal_bytes: 1.5}", `store.journal_bytes: 1.5 is not a whole number`},
		{"server", "store: {journal_bytes: 1000}", `store.journal_bytes: 1000 is below 1048576`},
		{"server", "session: {uaids: many}", `session.uaids: "many" is not a whole number`},
		{"server", "session: {uaids: 1.5}", `session.uaids: 1.5 is not a whole number`},
		{"server", "session: {uaids: 0}", `session.uaids: 0 is below 1`},
		{"server", "dialects: {versions: latest}", `dialects.versions: "latest" is not one of greatest, last`},
		{"relay", "dialects: {ping_min: 2h}", `dialects.ping_min: 2h0m0s is not between 0s and 1h0m0s`},
		{"server", "dialects: {max_channels: 0}", `dialects.max_channels: 0 is below 1`},
		{"server", "dialects: {msg_limit: -1}", `dialects.msg_limit: -1 is below 0`},
		{"server", "session: {message_rate: -1}", `session.message_rate: -1 is below 0`},
		{"server", "session: {ack_timeout: 1h, ack_timeout_max: 1m}", `session.ack_timeout_max: 1m0s is not between 1h0m0s and`},
		{"server", "listen: 8080", `listen: "8080" is not host:port`},
		{"server", "listen: [1]", `listen: [1] is not a text`},
		{"server", "admin: localhost:99999", `admin: "localhost:99999" is not host:port`},
		{"server", "data: ''", `data: empty`},
		{"server", "public_url: ftp://x", `public_url: "ftp://x" is not a URL`},
		{"server", "public_url: 'http://x/?a=b'", `public_url: "http://x/?a=b" is not a URL`},
		{"server", "log: {level: loud}", `log.level: "loud" is not one of debug, info, warn, error`},
		{"server", "log: {format: xml}", `log.format: "xml" is not one of text, json`},
		{"server", "drain: -1s", `drain: -1s is not between 0s and`},
		{"server", "hub: {grace: 1m}", `hub.grace: 1m0s is not between 0s and 1s`},
		{"server", "tls: {cert_file: a.pem}", `tls.key_file: missing, beside cert_file`},
		{"server", "tls: {key_file: a.pem}", `tls.cert_file: missing, beside key_file`},
		{"server", "tls: {cert_file: absent.pem, key_file: absent.pem}", `tls.cert_file: open absent.pem`},
		{"server", "tls: {client_ca_file: " + token + "}", `tls.client_ca_file: token holds no PEM certificate`},
		{"server", "relays: {name: x}", `relays: map[name:x] is not a list`},
		{"server", "relays: 7", `relays: 7 is not a list`},
		{"server", "relays: [{name: x}]", `relays[0] (x): no proof: give token_file or cert_name`},
		{"server", "relays: [{name: x, tokenfile: y}]", `relays[0].tokenfile: no such key; did you mean token_file?`},
		{"server", "relays: [{name: 'a b', token: t}]", `relays[0] (a b).name: "a b" is not a name`},
		{"server", "relays: [{token: t}]", `relays[0].name: "" is not a name`},
		{"server", "relays: [{name: x, token: t}, {name: x, token: u}]", `relays[1] (x).name: "x" is the name of relays[0] already`},
		{"server", "relays: [{name: x, token_file: absent}]", `relays[0] (x).token_file: open absent`},
		{"server", "relays: [{name: x, token_file: " + empty + "}]", `empty is empty: it should hold the token`},
		{"server", "relays: [{name: x, token_file: " + write(t, "many", "a\nb\nc\nd\ne\n") + "}]", `many: 5 lines are more than 4 tokens`},
		{"server", "relays: [{name: x, token: 't u'}]", `relays[0] (x).token: a line with spaces`},
		{"server", "relays: [{name: x, token: t, token_file: " + token + "}]", `relays[0] (x).token: given, and token_file as well`},
		{"server", "relays: [{name: x, token: t, custody: mine}]", `relays[0] (x).custody: "mine" is not one of device, relay`},
		{"server", "relays: [{name: x, cert_name: x}]", `relays[0] (x).cert_name: needs tls.client_ca_file`},
		{"server", "publish: {waiting: 0}", `publish.waiting: 0 is below 1`},
		{"server", "publish: {wait: 0}", `publish.wait: 0s is not between 1s`},
		{"server", "kicks: [{driver: pigeon}]", `kicks[0] (pigeon): driver: "pigeon" is not one of `},
		{"server", "kicks: [{driver: udp, networks: [{cidrs: [214/07]}], graze: 1s}]", `kicks[0] (udp): networks[0].cidrs[0]: "214/07" is not a CIDR`},
		{"server", "kicks: {driver: udp}", `kicks: map[driver:udp] is not a list`},
		{"server", "a: b: c", `not YAML: `},
		{"server", "drain: 1s\ndrain: 2s", `not YAML: `},
		{"server", "drain: 1s\n---\ndrain: 2s", `more than one document`},
		{"server", "- listen", `not YAML: `},
		{"relay", "", `upstreams: empty: a relay needs one, as with --upstream`},
		{"relay", "upstreams: [{url: 'http://x', token: t, urll: y}]", `upstreams[0].urll: no such key; did you mean url?`},
		{"relay", "upstreams: [{url: x, token: t}]", `upstreams[0] (upstream).url: "x" is not a URL`},
		{"relay", "upstreams: [{url: 'http://x'}]", `upstreams[0] (upstream): no token: give --token-file`},
		{"relay", "upstreams: [{url: 'http://x', token: t, mode: pigeon}]", `upstreams[0] (upstream).mode: "pigeon" is not one of auto, websocket, poll`},
		{"relay", "upstreams: [{url: 'http://x', token: t, interval: soon}]", `upstreams[0].interval: "soon" is not a duration`},
		{"relay", "upstreams: [{url: 'http://x', token: t, wait: 0}]", `upstreams[0] (upstream).interval: 0s, and wait is 0s as well`},
		{"relay", "upstreams: [{url: 'http://x', token: t, wait: 2m}]", `upstreams[0] (upstream).wait: 2m0s is not between 0s and 1m0s`},
		{"relay", "upstreams: [{url: 'http://x', token: t, custody: no}]", `upstreams[0] (upstream).custody: "`},
		{"relay", "upstreams: [{url: 'http://x', token: t}, {url: 'http://y', token: t}]", `upstreams[1] (upstream).name: "upstream" is the name of upstreams[0] already`},
		{"relay", "name: '?'\nupstreams: [{url: 'http://x', token: t}]", `name: "?" is not a name`},
		{"relay", "public_url: http://x\nupstreams: [{url: 'http://x', token: t}]", `public_url: no such key`},
	} {
		t.Run(c.yaml, func(t *testing.T) {
			src := Source{File: write(t, "f.yaml", c.yaml)}
			var err error
			if c.role == RoleRelay {
				_, err = LoadRelay(src)
			} else {
				_, err = LoadServer(src)
			}
			if !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	file := write(t, "f.yaml", "listen: here\nlog: {level: loud}\nstore: {sync: never, ttl: 0}\nrelays: [{name: x}]\n")
	_, err := LoadServer(Source{File: file})
	var e *Error
	if !errors.As(err, &e) || len(e.Faults) != 5 {
		t.Fatalf("want five faults, got %v", err)
	}
	text := write(t, "g.yaml", "lisen: x\ndrain: long\nsession: {uaids: x, pink: 1m}\n")
	if _, err := LoadServer(Source{File: text}); !errors.As(err, &e) || len(e.Faults) != 4 {
		t.Fatalf("want four faults, got %v", err)
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	for name, c := range map[string]struct{ value, want string }{
		"EDITION_LISTN":  {"x", "EDITION_LISTN: no such variable; did you mean EDITION_LISTEN?"},
		"EDITION_RELAYS": {"[{", "relays: not YAML or JSON"},
		"EDITION_KICKS":  {"udp", `kicks: "udp" is not a list`},
		"EDITION_DRAIN":  {"soon", `drain: "soon" is not a duration`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, c.value)
			if _, err := LoadServer(Source{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	t.Setenv("EDITION_SOMEBODY_ELSES", "1")
	if _, err := LoadServer(Source{}); err != nil {
		t.Errorf("a variable that is no key: %v", err)
	}
}

func TestRelayFindsTokenBesideIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, TokenFileName), []byte("tok\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := LoadRelay(Source{Set: map[string]any{"data": dir, "upstreams": []any{map[string]any{"url": "http://127.0.0.1:1"}}}})
	if err != nil || cfg.Upstreams[0].Token.Reveal() != "tok" {
		t.Errorf("%v %+v", err, cfg.Upstreams)
	}
}

// TestTokensOneALine takes several tokens, of which the first is shown.
func TestTokensOneALine(t *testing.T) {
	cfg, err := LoadServer(Source{Set: map[string]any{"relays": []any{map[string]any{
		"name": "x", "token_file": write(t, "two", "\n new \r\n\nold\n"),
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	token := cfg.Relays[0].Token
	if got := token.Tokens(); !slices.Equal(got, []string{"new", "old"}) || token.Token() != "new" {
		t.Errorf("got %q, shown is %q", got, token.Token())
	}
	if none := Secret(""); none.Token() != "" || len(none.Tokens()) != 0 {
		t.Error("an empty secret holds a token")
	}
}

// TestCaseInLists wants keys within lists as they are written: an environment
// variable of a program, a header, belong to others.
func TestCaseInLists(t *testing.T) {
	file := write(t, "relay.yaml", `upstreams:
  - url: http://127.0.0.1:1
    token: t
    kick: {driver: udp, Own: {Key: 1}}
`)
	cfg, err := LoadRelay(Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if own, ok := cfg.Upstreams[0].Kick["Own"].(map[string]any); !ok || own["Key"] != 1 {
		t.Errorf("got %v", cfg.Upstreams[0].Kick)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := LoadServer(Source{File: "absent.yaml"})
	if !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("got %v", err)
	}
}
