package firefox

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	profile := filepath.Join(t.TempDir(), "profile")
	if _, err := Start(t.Context(), Options{Profile: profile}); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("got %v, want ErrNotInstalled", err)
	}
	if _, err := os.Stat(profile); err == nil {
		t.Error("a profile was made for nobody")
	}
}

func TestProfile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profile")
	for _, server := range []string{"ws://127.0.0.1:1/", "ws://127.0.0.1:2/"} {
		if err := writeProfile(dir, server); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "user.js"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`user_pref("dom.push.serverURL", "` + server + `");`,
			`user_pref("remote.prefs.recommended", false);`,
			`user_pref("network.proxy.http_port", 9);`,
		} {
			if !strings.Contains(string(text), want+"\n") {
				t.Errorf("user.js lacks %s", want)
			}
		}
	}
}

func TestSite(t *testing.T) {
	s, err := OpenSite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"", "page.js", "worker.js"} {
		resp, err := http.Get(s.URL + name)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %s", name, resp.Status)
		}
	}
	for body, want := range map[string]int{`{"text":null}`: 204, `{"text":"x"}`: 204, `{`: 400} {
		resp, err := http.Post(s.URL+"pushed", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", body, resp.Status, want)
		}
	}
	if n := len(s.Pushes); n != 2 {
		t.Errorf("%d pushes, want 2", n)
	}
}
