package kicks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

func TestExpand(t *testing.T) {
	for _, c := range []struct{ driver, to, want string }{
		{"udp", "10.1.2.3:4000", `{"driver":"x","ip":"10.1.2.3","port":4000}`},
		{"udp", "tcp://[fd00::1]:4000", `{"driver":"x","ip":"fd00::1","port":4000,"proto":"tcp"}`},
		{"wakeup", "10.1.2.3:4000@lab", `{"driver":"x","ip":"10.1.2.3","netid":"lab","port":4000}`},
		{"sms", "+34600111222", `{"driver":"x","msisdn":"+34600111222"}`},
		{"exec", "lamp-7", `{"driver":"x","to":"lamp-7"}`},
		{"webpush", "https://a.example/1", `{"driver":"x","endpoint":"https://a.example/1"}`},
		{"gateway", ` {"route":{}}`, `{"driver":"x","route":{}}`},
		{"udp", `{"driver":"another","ip":"::1"}`, `{"driver":"x","ip":"::1"}`},
	} {
		got, err := expand("x", c.driver, c.to)
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s: got %s, %v", c.driver, c.to, got, err)
		}
	}
	for driver, to := range map[string]string{"gateway": "lamp", "udp": "10.1.2.3", "wakeup": "@", "fcm": "{", "log": "x"} {
		if got, err := expand("x", driver, to); !errors.Is(err, edition.ErrUsage) {
			t.Errorf("%s %s: got %s, %v", driver, to, got, err)
		}
	}
}

// TestShortFormsAreOfDrivers wants no form for a driver that there is not.
func TestShortFormsAreOfDrivers(t *testing.T) {
	known := " " + strings.Join(kickdrivers.Kinds(), " ") + " "
	for name := range shorts() {
		if !strings.Contains(known, " "+name+" ") {
			t.Errorf("%s is no driver", name)
		}
	}
}

func TestSettings(t *testing.T) {
	got, err := settings([]string{"rate=5", "tls.ca_file=ca.pem", "tls.key_file=key.pem", "networks=[{cidrs: [10.0.0.0/8]}]", "text=a=b"})
	want := map[string]any{
		"rate": 5, "text": "a=b",
		"tls":      map[string]any{"ca_file": "ca.pem", "key_file": "key.pem"},
		"networks": []any{map[string]any{"cidrs": []any{"10.0.0.0/8"}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"rate", "=5", "x=["} {
		if _, err := settings([]string{bad}); !errors.Is(err, edition.ErrUsage) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestOutcomes(t *testing.T) {
	held := edition.RetryAfter(edition.ErrTooMany, 20*time.Second)
	for _, c := range []struct {
		err        error
		word, hint string
		code       int
	}{
		{nil, "sent", "on its way", 0},
		{edition.ErrGone, "gone", "register anew", 68},
		{edition.ErrForbidden, "refused", "does not allow", 77},
		{held, "rate_limited", "asks to wait 20s", 69},
		{edition.RetryAfter(edition.ErrUnavailable, time.Minute), "failed", "asks to wait 1m0s", 69},
		{edition.ErrUnavailable, "failed", "for whatever target;", 69},
		{context.DeadlineExceeded, "failed", "no answer in time", 1},
		{errors.New("odd"), "failed", "this target failed", 1},
		{edition.ErrMalformed, "failed", "this target failed", 64},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("around: %w", err)
		}
		if got := word(err); got != c.word {
			t.Errorf("%v: %s, want %s", err, got, c.word)
		}
		if got := hint(err); !strings.Contains(got, c.hint) {
			t.Errorf("%v: %s, want %s", err, got, c.hint)
		}
		if err == nil {
			continue
		}
		exit, ok := errors.AsType[exitError](failure(err))
		if !ok || exit.Exits() != c.code || !errors.Is(exit, c.err) {
			t.Errorf("%v: exit code %d, want %d", err, exit.Exits(), c.code)
		}
	}
}

// node answers as a node's admin listener and gateway do.
func node(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kicks", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode([]kickdrivers.EntryState{
			{Name: "lab", Driver: "udp", Breaker: kickdrivers.BreakerShut, Rate: 5, Outcomes: map[string]uint64{"sent": 7, "answered": 6}},
			{Name: "phones", Driver: "fcm", Breaker: kickdrivers.BreakerUp, Wait: 90 * time.Second, Queued: 3, Errands: 1},
		})
	})
	kick := func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "4f2a" || strings.HasPrefix(r.URL.Path, "/v1/") && r.Header.Get("Authorization") != "Bearer t0ken" {
			http.Error(w, "no such kick", http.StatusNotFound)
			return
		}
		w.Write([]byte(`{"id":"4f2a","state":"done","since":"2026-05-04T10:11:12Z","outcome":"rate_limited","driver":"lab","detail":"later","retry_after":20}`))
	}
	mux.HandleFunc("GET /kicks/{id}", kick)
	mux.HandleFunc("GET /v1/kicks/{id}", kick)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func runs(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestListAndShow(t *testing.T) {
	url := node(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"list", "--admin", url}, []string{"lab     udp     closed      0        0       7     6", "phones  fcm     open 1m30s  4 "}},
		{[]string{"list", "--admin", url, "--json"}, []string{`"name": "lab"`, `"sent": 7`}},
		{[]string{"show", "lab", "--admin", url}, []string{"driver    udp", "rate      5", "sent      7"}},
		{[]string{"show", "phones", "--admin", url, "--json"}, []string{`"breaker": "open"`}},
		{[]string{"show", "4f2a", "--admin", url}, []string{"outcome      rate_limited", "retry after  20s", "detail       later"}},
		{[]string{"show", "4f2a", "--gateway", url, "--token-file", token}, []string{"state        done", "driver       lab"}},
		{[]string{"show", "4f2a", "--gateway", url, "--token-file", token, "--json"}, []string{`"id": "4f2a"`}},
	} {
		got, err := runs(t, c.args...)
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
		}
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%v prints\n%s\nwithout %q", c.args, got, want)
			}
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"show", "lib", "--admin", url}, "did you mean lab?"},
		{[]string{"show", "pigeon", "--admin", url}, "there are lab, phones"},
		{[]string{"show", "4f2a", "--gateway", url}, "404"},
		{[]string{"show", "4f2a", "--gateway", url, "--token-file", "absent"}, "absent"},
		{[]string{"show", "4f2a", "--gateway", url, "--ca-file", token}, "PEM"},
		{[]string{"list", "--admin", url + "/v1"}, "404"},
		{[]string{"list", "--admin", "http://127.0.0.1:1"}, "is the node running there?"},
	} {
		if _, err := runs(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %s", c.args, err, c.want)
		}
	}
}

func TestVAPID(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vapid.key")
	first, err := runs(t, "vapid", file)
	if err != nil || len(strings.TrimSpace(first)) != 87 { // 65 bytes in base64url
		t.Fatalf("got %q, %v", first, err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", st, err)
	}
	private, err := os.ReadFile(file)
	if err != nil || strings.Contains(first, strings.TrimSpace(string(private))) {
		t.Errorf("the private key is printed: %v", err)
	}
	if again, err := runs(t, "vapid", file); err != nil || again != first {
		t.Errorf("the same file shows %q, %v", again, err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runs(t, "vapid", file); !errors.Is(err, edition.ErrConfig) || strings.Contains(err.Error(), "no key") {
		t.Errorf("got %v", err)
	}
	if _, err := runs(t, "vapid", filepath.Join(file, "below")); !errors.Is(err, edition.ErrConfig) {
		t.Errorf("got %v", err)
	}
}
