package kickdrivers_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// with is an entry for udp that is good but for these keys.
func with(kv ...any) map[string]any {
	m := map[string]any{"name": "lan", "driver": "udp", "networks": []any{network()}}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

func network(kv ...any) map[string]any {
	m := map[string]any{"name": "lab", "cidrs": []any{"10.0.0.0/8"}}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

func TestDecodeFaults(t *testing.T) {
	for _, c := range []struct {
		entry map[string]any
		want  string // all faults, without "kicks[0] (lan): "
	}{
		{with(), ""},
		{with("grace", "1s", "min_interval", "0s", "rate", 0.5, "burst", 1.0, "tcp_timeout", "1s"), ""},
		{with("networks", []any{network("mcc", "214", "mnc", "07", "ports", "9")}), ""},

		{with("graze", "1s"), "graze: unknown key; did you mean grace?"},
		{with("grace", 5), `grace: 5 is not a duration such as "300ms" or "24h"`},
		{with("grace", "5"), `grace: "5" is not a duration such as "300ms" or "24h"`},
		{with("grace", "-1s"), "grace: -1s is not between 0s and 1m"},
		{with("rate", "many"), `rate: "many" is not a number`},
		{with("rate", -1.0), "rate: -1 is not 0 (no limit) or between 0.01 and 1e9 kicks a second"},
		{with("burst", 1.5), "burst: 1.5 is not a whole number"},
		{with("burst", 0), "burst: 0 is not 1 or more"},
		{with("retry_min", "1h"), "retry_max: 10m0s is not between retry_min and 24h"},
		{with("give_up", "1s"), "give_up: 1s is not retry_min or more"},
		{with("parallel", 0), "parallel: 0 is not between 1 and 1024"},
		{with("break_for", "1h"), "break_for: 1h0m0s is not between 100ms and 5m"},
		{with("max_waiting", 0), "max_waiting: 0 is not between 1 and 50 million"},
		{with("name", "A b"), `name: "A b" is not 1 to 32 of a-z 0-9 . _ -`},
		{with("driver", "pigeon", "networks", nil), `driver: "pigeon" is not one of ` + strings.Join(kickdrivers.Kinds(), ", ")},
		{with("driver", "log"), "networks: unknown key"},

		{with("networks", nil), "networks: none is given, so that nobody could be kicked"},
		{with("networks", "10.0.0.0/8"), `networks: "10.0.0.0/8" is not a list`},
		{with("networks", []any{network("cidrs", []any{"10.0.0.0/8", "214/07"})}), `networks[0].cidrs[1]: "214/07" is not a CIDR such as 10.0.0.0/8`},
		{with("networks", []any{network("cidrs", nil)}), "networks[0].cidrs: none is given"},
		{with("networks", []any{network("cidrs", []any{"10.1.0.0/8"})}), `networks[0].cidrs[0]: "10.1.0.0/8" has bits set behind the mask; 10.0.0.0/8 is the network`},
		{with("networks", []any{network("cidrs", []any{"::ffff:10.0.0.0/104"})}), `networks[0].cidrs[0]: "::ffff:10.0.0.0/104": write it as IPv4`},
		{with("networks", []any{network(), network("mcc", 214, "mnc", "07")}), "networks[1].mcc: 214 is not a text: write it in quotes"},
		{with("networks", []any{network("mcc", "214")}), `networks[0].mnc: "" is not two or three digits`},
		{with("networks", []any{network("port", "1", "cidr", "2")}), "networks[0].cidr: unknown key; did you mean cidrs?\nnetworks[0].port: unknown key; did you mean ports?"},
		{with("networks", []any{network("ports", "0-5")}), `networks[0].ports: "0-5" is not a range such as 1024-65535`},
		{with("networks", []any{network("ports", "9-5")}), `networks[0].ports: "9-5" is not a range such as 1024-65535`},
		{with("networks", []any{network("any_address", "yes")}), `networks[0].any_address: "yes" is not a truth value: true or false`},

		{with("payload", ""), `payload: "": is empty`},
		{with("payload", "PLEASE CONNECTX"), `payload: "PLEASE CONNECTX": ends like a code that confirms a route: 8 of A-Z and 2-7 behind a blank`},
		{with("payload", "{{.UAID}}"), `payload: "{{.UAID}}": {{.UAID}} is not {{.Addr}}, {{.IP}} or {{.Port}}`},
		{with("payload", "{{if .IP}}x{{end}}"), `payload: "{{if .IP}}x{{end}}": {{if .IP}}x{{end}} is not {{.Addr}}, {{.IP}} or {{.Port}}`},
		{with("payload", "{{printf \"%999d\" 1}}"), `payload: "{{printf \"%999d\" 1}}": template: payload:1: function "printf" not defined`},
		{with("payload", "{{.Addr.IP}}"), `payload: "{{.Addr.IP}}": {{.Addr.IP}} is not {{.Addr}}, {{.IP}} or {{.Port}}`},
		{with("payload", strings.Repeat("x", 466)+"{{.Addr}}"), `payload: "` + strings.Repeat("x", 466) + `{{.Addr}}": may take 513 bytes, more than 512`},
		{with("bind", []any{"eth0"}), `bind[0]: "eth0" is not an IP address of this machine`},
		{with("bind", []any{"127.0.0.1", "127.0.0.2"}), `bind[1]: "127.0.0.2" is the second address of its family`},
		{with("tcp_timeout", "0s", "tcp_parallel", 0), "tcp_timeout: 0s is not between 10ms and 1m\ntcp_parallel: 0 is not between 1 and 4096"},
		{with("target_rate", -1.0, "target_burst", 0, "target_counters", -1), "target_rate: -1 is not 0 (no limit) or between 0.001 and 1e6 kicks a second\ntarget_burst: 0 is not between 1 and 1e6\ntarget_counters: -1 is not 0 (large enough) or between 1 and 2^26"},
		{map[string]any{"name": "lan", "driver": "log", "level": "loud"}, `level: "loud" is not debug, info or warn`},
	} {
		_, err := kickdrivers.Decode([]map[string]any{c.entry})
		var got string
		if err != nil {
			if !errors.Is(err, edition.ErrConfig) {
				t.Errorf("%v is not an ErrConfig", err)
			}
			got = strings.TrimPrefix(err.Error(), "configuration: ")
			got = strings.ReplaceAll(got, fmt.Sprintf("kicks[0] (%v): ", c.entry["name"]), "")
		}
		if got != c.want {
			t.Errorf("%v\n got %s\nwant %s", c.entry, got, c.want)
		}
	}
}

func TestDecodeNamesAllFaults(t *testing.T) {
	_, err := kickdrivers.Decode([]map[string]any{
		with("grace", "soon"),
		with(),
		with("name", "carrier-es", "networks", []any{network("cidrs", []any{"214/07"})}),
		{"driver": "log"},
	})
	want := `configuration: kicks[0] (lan): grace: "soon" is not a duration such as "300ms" or "24h"
kicks[1] (lan): name: "lan" is given twice
kicks[2] (carrier-es): networks[0].cidrs[0]: "214/07" is not a CIDR such as 10.0.0.0/8`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestDecode(t *testing.T) {
	entries, err := kickdrivers.Decode([]map[string]any{with("grace", "1s", "rate", 7), {"driver": "log"}})
	if err != nil {
		t.Fatal(err)
	}
	want := kickdrivers.DefaultPolicy()
	want.Grace, want.Rate = time.Second, 7
	if entries[0].Name != "lan" || entries[0].Policy != want {
		t.Errorf("got %+v, want %+v", entries[0].Policy, want)
	}
	if entries[1].Name != "log" || entries[1].Policy != kickdrivers.DefaultPolicy() {
		t.Errorf("an entry without a name is %q, want that of its driver", entries[1].Name)
	}
	for _, e := range entries {
		d, err := e.Open(driver.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestKinds fails when the list of drivers and the cases differ.
func TestKinds(t *testing.T) {
	source, err := os.ReadFile("decode.go")
	if err != nil {
		t.Fatal(err)
	}
	var cases []string
	for _, m := range regexp.MustCompile(`(?m)^\tcase "([a-z]+)":$`).FindAllSubmatch(source, -1) {
		cases = append(cases, string(m[1]))
	}
	kinds := kickdrivers.Kinds()
	slices.Sort(kinds)
	slices.Sort(cases)
	if len(cases) == 0 || !slices.Equal(kinds, cases) {
		t.Errorf("Kinds are %q, the cases %q", kinds, cases)
	}
}

// TestFingerprint changes with what makes the driver another one, be it in a
// file that the configuration names.
func TestFingerprint(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	write := func(s string) {
		if err := os.WriteFile(secret, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	print := func(m map[string]any) string {
		t.Helper()
		entries, err := kickdrivers.Decode([]map[string]any{m})
		if err != nil {
			t.Fatal(err)
		}
		return entries[0].Fingerprint
	}
	hook := map[string]any{"driver": "gateway", "url": "https://gw.example", "token": map[string]any{"file": secret}}
	first, token := print(with()), print(hook)
	if first == "" || first != print(with()) {
		t.Errorf("the same entry has the fingerprints %q and %q", first, print(with()))
	}
	if first != print(with("grace", "1s", "rate", 7)) {
		t.Error("a policy makes another driver")
	}
	for _, other := range []map[string]any{
		with("payload", "up"),
		with("networks", []any{network("cidrs", []any{"10.0.0.0/9"})}),
		with("networks", []any{network(), network()}),
		with("bind", []any{"127.0.0.1"}),
		hook,
	} {
		if print(other) == first {
			t.Errorf("%v has the fingerprint of %v", other, with())
		}
	}
	write("two")
	if print(hook) == token {
		t.Error("another secret in the same file makes no other driver")
	}
}

func TestDefault(t *testing.T) {
	entries, err := kickdrivers.Decode(kickdrivers.Default())
	if err != nil || len(entries) != 2 || entries[0].Name != "udp" || entries[1].Name != "log" {
		t.Errorf("%v, %v", entries, err)
	}
}
