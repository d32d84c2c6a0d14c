package kickdrivers

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// sample has keys of every shape.
type sample struct {
	Host    string          `mapstructure:"host"`
	Token   driver.Secret   `mapstructure:"token"`
	Older   []driver.Secret `mapstructure:"older"`
	TLS     sampleTLS       `mapstructure:"tls"`
	Nets    []sampleNet     `mapstructure:"nets"`
	Timeout time.Duration   `mapstructure:"timeout"`
}

type sampleTLS struct {
	CAFile string        `mapstructure:"ca_file"`
	Key    driver.Secret `mapstructure:"key"`
}

type sampleNet struct {
	CIDRs []string `mapstructure:"cidrs"`
}

func TestUnknownKeys(t *testing.T) {
	for name, c := range map[string]struct {
		keys map[string]any
		want string
	}{
		"of the driver":    {map[string]any{"hots": "x"}, "hots: unknown key; did you mean host?"},
		"of every entry":   {map[string]any{"brust": 1}, "brust: unknown key; did you mean burst?"},
		"in a group":       {map[string]any{"tls": map[string]any{"cafile": "x"}}, "tls.cafile: unknown key; did you mean ca_file?"},
		"in a list":        {map[string]any{"nets": []any{map[string]any{"cidr": "x"}}}, "nets[0].cidr: unknown key; did you mean cidrs?"},
		"in a list's end":  {map[string]any{"nets": []any{map[string]any{}, map[string]any{"host": "x"}}}, "nets[1].host: unknown key"},
		"near nothing":     {map[string]any{"colour": "x"}, "colour: unknown key"},
		"part of a secret": {map[string]any{"token": map[string]any{"fil": "x"}}, "token.fil: unknown key; did you mean file?"},
	} {
		errs := strict(c.keys, new(sample))
		if len(errs) != 1 || errs[0].Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, errs, c.want)
		}
	}
}

func TestUnknownDriver(t *testing.T) {
	if got := unknownDriver("upd").Error(); got != `driver: "upd" is not one; did you mean udp?` {
		t.Error(got)
	}
	if got := unknownDriver("pigeon").Error(); !strings.Contains(got, `"pigeon" is not one of `) || !strings.Contains(got, "udp") {
		t.Error(got)
	}
}

// TestInlineSecrets wants secrets refused that stand in the configuration, and
// not told to whoever reads the error.
func TestInlineSecrets(t *testing.T) {
	for name, keys := range map[string]map[string]any{
		"text":             {"token": "hunter2"},
		"a number":         {"token": 4711},
		"a list":           {"token": []any{"hunter2"}},
		"one for a list":   {"older": "hunter2"},
		"a list of them":   {"older": []any{"hunter2"}},
		"within a group":   {"tls": map[string]any{"key": "hunter2"}},
		"beside good ones": {"token": map[string]any{"file": "token"}, "older": []any{map[string]any{"env": "OLD"}, "hunter2"}},
	} {
		errs := strict(keys, new(sample))
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "a secret is not written here") {
			t.Errorf("%s: got %v", name, errs)
		}
		for _, err := range errs {
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "4711") {
				t.Errorf("%s: the secret is told: %v", name, err)
			}
		}
	}
	var good sample
	if errs := strict(map[string]any{"token": map[string]any{"env": "T"}, "older": []any{map[string]any{"file": "f"}}}, &good); len(errs) > 0 {
		t.Errorf("got %v", errs)
	}
	if good.Token.Env != "T" || len(good.Older) != 1 || good.Older[0].File != "f" {
		t.Errorf("got %+v", good)
	}
}

func TestFaultsThatFollow(t *testing.T) {
	list := func(texts ...string) (errs []error) {
		for _, text := range texts {
			errs = append(errs, errors.New(text))
		}
		return errs
	}
	form := list("token: not written here", "nets[0].cidr: unknown key")
	got := notCausedBy(form, list("token: is not given", "tokens: 0 is not enough", "nets[1].cidr: too wide", "host: empty", "nothing of a key"))
	if want := list("tokens: 0 is not enough", "nets[1].cidr: too wide", "host: empty", "nothing of a key"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
