package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/fcm/fcmsim"
	"github.com/edition-push/edition/kickdrivers/simtls"
	"github.com/edition-push/edition/kickdrivers/udp"
	"github.com/edition-push/edition/kickdrivers/webhook/webhooksim"
	"github.com/edition-push/edition/kickdrivers/webpush/webpushsim"
)

func TestServerSampleSaysTheDefaults(t *testing.T) {
	cfg, err := LoadServer(Source{File: write(t, "server.yaml", ServerSample)})
	if err != nil {
		t.Fatal(err)
	}
	if want := DefaultServer(); !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	everyKeyIn(t, ServerSample, leavesOf(&cfg))
}

func TestRelaySampleSaysTheDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("data", TokenFileName), []byte("tok"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := LoadRelay(Source{File: write(t, "relay.yaml", RelaySample)})
	if err != nil {
		t.Fatal(err)
	}
	want, up := DefaultRelay(), DefaultUpstream()
	up.URL, up.Relay, up.Token, up.TokenFile = "http://127.0.0.1:8080", "relay", "tok", filepath.Join("data", TokenFileName)
	want.Upstreams = []Upstream{up}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	everyKeyIn(t, RelaySample, leavesOf(&cfg))
	for _, key := range keysAt(&cfg, "upstreams[0]") {
		if key != "token" && !strings.Contains(RelaySample, key+":") {
			t.Errorf("relay.yaml does not mention upstreams[].%s", key)
		}
	}
	for _, key := range keysAt(&cfg, "relays[0]") {
		if key != "token" && !strings.Contains(RelaySample, key+":") {
			t.Errorf("relay.yaml does not mention relays[].%s", key)
		}
	}
}

// everyKeyIn wants each key said, not only mentioned.
func everyKeyIn(t *testing.T, sample string, leaves map[string]any) {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(sample), &m); err != nil {
		t.Fatal(err)
	}
	for key := range leaves {
		at, last := m, key
		for {
			head, rest, nested := strings.Cut(last, ".")
			if !nested {
				break
			}
			at, _ = at[head].(map[string]any)
			last = rest
		}
		if _, ok := at[last]; !ok {
			t.Errorf("the sample does not have %s", key)
		}
	}
}

// TestSampleSaysTheDefaultsOfKicks takes the comment signs away from the kicks
// section: it must then mean the same.
func TestSampleSaysTheDefaultsOfKicks(t *testing.T) {
	for name, sample := range map[string]string{"server.yaml": ServerSample, "relay.yaml": RelaySample} {
		_, section, _ := strings.Cut(sample, "\nkicks:\n")
		section, _, _ = strings.Cut(section, "\n  #\n")
		var entries []map[string]any
		said := regexp.MustCompile(`(?m)^ *# (netid|mcc|mnc|When).*$`).ReplaceAllString(section, "")
		said = regexp.MustCompile(`(?m)^( *)# ([a-z_]+:)`).ReplaceAllString(said, "$1$2")
		if err := yaml.Unmarshal([]byte(said), &entries); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, said)
		}
		if len(entries) != 2 || len(entries[0]) < 20 {
			t.Fatalf("%s: not all keys were found: %v", name, entries)
		}
		got, err := kickdrivers.Decode(entries)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := kickdrivers.DefaultPolicy(); got[0].Policy != want {
			t.Errorf("%s: got %+v, want %+v", name, got[0].Policy, want)
		}
		def := udp.DefaultConfig()
		for key, want := range map[string]any{
			"payload": def.Payload, "tcp_timeout": def.TCPTimeout.String(), "tcp_parallel": def.TCPParallel,
		} {
			if entries[0][key] != want {
				t.Errorf("%s: %s is %v, want %v", name, key, entries[0][key], want)
			}
		}
	}
}

// TestSampleOfEveryDriver takes the comment signs away from the examples, gives
// them the files that they name, and wants each driver there without a fault.
func TestSampleOfEveryDriver(t *testing.T) {
	t.Chdir(t.TempDir())
	secretFiles(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, sample := range map[string]string{"server.yaml": ServerSample, "relay.yaml": RelaySample} {
		_, section, found := strings.Cut(sample, "never the value itself.\n  #\n")
		section, _, _ = strings.Cut(section, "\n\n")
		section = regexp.MustCompile(`(?m)^  # `).ReplaceAllString(section, "")
		section = strings.ReplaceAll(section, "/usr/local/bin/wake", program)
		var entries []map[string]any
		if err := yaml.Unmarshal([]byte(section), &entries); err != nil || !found {
			t.Fatalf("%s: %v\n%s", name, err, section)
		}
		got, err := kickdrivers.Decode(entries)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		there := map[string]bool{"udp": true, "log": true}
		for _, e := range got {
			there[e.Driver] = true
		}
		for _, kind := range kickdrivers.Kinds() {
			if !there[kind] {
				t.Errorf("%s has no example of %s", name, kind)
			}
		}
	}
}

func fileOf(entry map[string]any, key string) string {
	return entry[key].(map[string]any)["file"].(string)
}

// secretFiles makes the files that the examples name.
func secretFiles(t *testing.T) {
	t.Helper()
	apns, err := apnssim.Start(apnssim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer apns.Close()
	fcm, err := fcmsim.Start(fcmsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fcm.Close()
	web, err := webpushsim.Start(webpushsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	hook, err := webhooksim.Start(webhooksim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer hook.Close()
	ca, err := simtls.New("test")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		apns.WriteFiles("."), fcm.WriteFiles("."), web.WriteFiles("."), hook.WriteFiles("."), ca.WriteFiles(".", "edition"),
		os.Rename(fileOf(apns.Entry("."), "token_key"), "AuthKey.p8"), os.Rename(fileOf(fcm.Entry("."), "service_account"), "firebase.json"),
		os.Rename(simtls.CertFile, "edition.pem"), os.Rename(simtls.KeyFile, "edition.key"),
		os.WriteFile("mqtt.password", []byte("secret"), 0o600), os.WriteFile("smpp.password", []byte("secret"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestShowLoadsAgain(t *testing.T) {
	token := write(t, "token", "s3cret")
	file := write(t, "server.yaml", "relays: [{name: x, token_file: "+token+"}]\ndrain: 1m30s\n")
	cfg, err := LoadServer(Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Show(&b, cfg); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "s3cret") {
		t.Errorf("a secret is shown:\n%s", b.String())
	}
	again, err := LoadServer(Source{File: write(t, "again.yaml", b.String())})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, cfg) {
		t.Errorf("got  %+v\nwant %+v", again, cfg)
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	s := Secret("hunter2")
	holder := struct{ Token Secret }{s}
	j, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", s, "holder", holder)
	for _, text := range []string{
		string(j), string(y), log.String(), s.String(),
		fmt.Sprintf("%v %+v %#v %s %q", s, holder, holder, s, s),
	} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "<secret>") && !strings.Contains(text, `\u003csecret\u003e`) {
			t.Errorf("shown as %s", text)
		}
	}
	if s.Reveal() != "hunter2" || Secret("").String() != "" {
		t.Error("Reveal and the empty secret")
	}
}
