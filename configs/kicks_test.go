package configs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

const kicksFile = `listen: nowhere
kicks:
  - {name: lab, driver: udp, networks: [{cidrs: [10.0.0.0/8]}]}
  - {driver: log, rate: 7}
  - name: bad
    driver: udp
    networks: [{cidrs: [214/07]}]
`

func TestLoadKick(t *testing.T) {
	file := write(t, "k.yaml", kicksFile)
	for name, want := range map[string]string{"lab": "lab", "udp": "lab", "log": "log"} {
		e, err := LoadKick(file, name, nil)
		if err != nil || e.Name != want {
			t.Errorf("%s: got %s, %v", name, e.Name, err)
		}
	}
	e, err := LoadKick(file, "log", map[string]any{"rate": 9, "grace": "1s"})
	if err != nil || e.Policy.Rate != 9 || e.Policy.Grace != time.Second {
		t.Errorf("keys on top: %+v, %v", e.Policy, err)
	}
	if e, err = LoadKick(file, "log", nil); err != nil || e.Policy.Rate != 7 {
		t.Errorf("keys on top stay: %+v, %v", e.Policy, err)
	}
	_, err = LoadKick(file, "bad", nil)
	if !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), "line 7: kicks[2] (bad): networks[0].cidrs[0]") {
		t.Errorf("got %v", err)
	}
	_, err = LoadKick(file, "lib", nil)
	if !errors.Is(err, edition.ErrUsage) || !strings.Contains(err.Error(), "did you mean lab?") {
		t.Errorf("got %v", err)
	}
}

func TestLoadKickWithoutFile(t *testing.T) {
	if e, err := LoadKick("", "udp", nil); err != nil || e.Driver != "udp" {
		t.Errorf("the list that holds without a file: %+v, %v", e, err)
	}
	e, err := LoadKick("", "log", map[string]any{"rate": 3})
	if err != nil || e.Driver != "log" || e.Policy.Rate != 3 {
		t.Errorf("an entry of its own: %+v, %v", e, err)
	}
	t.Setenv("EDITION_KICKS", "[{name: mine, driver: log}]")
	if e, err := LoadKick(write(t, "k.yaml", kicksFile), "mine", nil); err != nil || e.Driver != "log" {
		t.Errorf("the environment goes first: %+v, %v", e, err)
	}
	t.Setenv("EDITION_KICKS", "[]")
	if _, err := LoadKick("", "udp", nil); err == nil || !strings.Contains(err.Error(), "the list is empty") {
		t.Errorf("got %v", err)
	}
}

func TestLoadKickRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"kicks: udp":   "kicks is not a list",
		"kicks: [udp]": "kicks[0] is not a group of keys",
		"kicks: [":     "not YAML",
	} {
		if _, err := LoadKick(write(t, "k.yaml", text), "udp", nil); !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	if _, err := LoadKick("absent.yaml", "udp", nil); !errors.Is(err, edition.ErrConfig) {
		t.Errorf("got %v", err)
	}
	t.Setenv("EDITION_KICKS", "[")
	if _, err := LoadKick("", "udp", nil); !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), "EDITION_KICKS is not YAML") {
		t.Errorf("got %v", err)
	}
}

func TestChanged(t *testing.T) {
	a, b := DefaultServer(), DefaultServer()
	if got := Changed(a, b); got != nil {
		t.Errorf("nothing: %v", got)
	}
	b.Store.TTL, b.Kicks, b.PublicURL = time.Hour, nil, "https://x"
	if got := strings.Join(Changed(a, b), " "); got != "kicks public_url store.ttl" {
		t.Errorf("got %s", got)
	}
}

// TestChangedTokens tells tokens of upstreams from what else is there.
func TestChangedTokens(t *testing.T) {
	a, b := DefaultRelay(), DefaultRelay()
	a.Upstreams = []Upstream{{Name: "one", Token: "t\nold"}, {Name: "two", Token: "u"}}
	b.Upstreams = []Upstream{{Name: "one", Token: "t", TokenFile: "f"}, {Name: "two", Token: "u"}}
	if got := Changed(a, b); got != nil {
		t.Errorf("the token that is shown is the same: %v", got)
	}
	b.Upstreams[0].Token = "new"
	if got := strings.Join(Changed(a, b), " "); got != UpstreamTokens {
		t.Errorf("got %s", got)
	}
	b.Upstreams[0].Mode = "poll"
	if got := strings.Join(Changed(a, b), " "); got != "upstreams "+UpstreamTokens {
		t.Errorf("got %s", got)
	}
	if a.Upstreams[0].Token != "t\nold" {
		t.Error("the configuration was changed")
	}
}
