package publish

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/edition-push/edition"
)

func TestKeyFileIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "endpoint-keys.yaml")
	key := newKey()
	tokens := make([]string, 8)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			r, err := LoadKeyring(path)
			if err != nil {
				t.Error(err)
				return
			}
			tokens[i] = r.Seal(key)
		})
	}
	all.Wait()
	for _, token := range tokens {
		if token == "" || token != tokens[0] {
			t.Fatalf("several at once must agree on one ring: %q", tokens)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode %v", st.Mode())
	}
}

func TestKeyFilesDiffer(t *testing.T) {
	a, err := LoadKeyring(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadKeyring(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(a.Seal(newKey())); !errors.Is(err, edition.ErrNotFound) {
		t.Errorf("two installations share a key: %v", err)
	}
}

func TestKeyFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	path := filepath.Join(t.TempDir(), "keys")
	if _, err := LoadKeyring(path); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o440: true, 0o644: false, 0o660: false, 0o604: false, 0o666: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKeyring(path)
		if (err == nil) != ok {
			t.Errorf("mode %o: %v", mode, err)
		}
		if err != nil && (!errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), "chmod 600") || !strings.Contains(err.Error(), path)) {
			t.Errorf("mode %o: %v does not say what to do", mode, err)
		}
	}
}

func TestKeyFileWithoutItsDirectory(t *testing.T) {
	if _, err := LoadKeyring(filepath.Join(t.TempDir(), "none", "keys")); !errors.Is(err, edition.ErrConfig) {
		t.Errorf("%v", err)
	}
}

const (
	zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	ones  = "//////////////////////////////////////////8="
)

func TestKeyFileFaults(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string // all of them at once; none: no fault
	}{
		"two":            {"- {id: 2, key: " + zeros + "}\n- {id: 1, key: " + ones + "}\n", nil},
		"padded":         {"- {id: 2, key: " + zeros + "=}\n", nil},
		"url alphabet":   {"- {id: 2, key: " + strings.ReplaceAll(ones, "/", "_") + "}\n", nil},
		"empty":          {"", []string{"no key"}},
		"empty list":     {"[]", []string{"no key"}},
		"comments only":  {keyFileHead, []string{"no key"}},
		"not a list":     {"id: 1", []string{"cannot unmarshal"}},
		"not YAML":       {"{", []string{"yaml"}},
		"unknown name":   {"- {id: 1, key: " + zeros + ", note: x}", []string{"note"}},
		"id too great":   {"- {id: 65536, key: " + zeros + "}", []string{"65536"}},
		"id negative":    {"- {id: -1, key: " + zeros + "}", []string{"-1"}},
		"no id":          {"- {key: " + zeros + "}", []string{"[0]: id: must be 1 to 65535"}},
		"no key":         {"- {id: 1}", []string{"[0]: key: 0 bytes, must be 32"}},
		"short key":      {"- {id: 1, key: AAAA}", []string{"[0]: key: 3 bytes, must be 32"}},
		"not base64":     {"- {id: 1, key: '" + zeros[:40] + "***'}", []string{"[0]: key: not base64"}},
		"id twice":       {"- {id: 1, key: " + zeros + "}\n- {id: 1, key: " + ones + "}", []string{"[1]: id: 1 is the id of [0]"}},
		"key twice":      {"- {id: 1, key: " + zeros + "}\n- {id: 2, key: " + zeros + "=}", []string{"[1]: key: the same as [0]"}},
		"several faults": {"- {id: 0, key: AAAA}\n- {id: 0, key: '" + ones + "x'}", []string{"[0]: id", "[0]: key: 3 bytes", "[1]: id", "[1]: key: not base64"}},
	} {
		path := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKeyring(path)
		if len(c.want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "/////") || strings.Contains(err.Error(), "AAAAAAAA") {
			t.Errorf("%s: %v shows a key", name, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != c.file {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}
