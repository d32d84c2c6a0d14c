package publish

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/edition-push/edition"
)

// writeRing replaces a key ring file by one whose keys are each of one byte.
func writeRing(t *testing.T, path string, keys ...byte) {
	t.Helper()
	var text []byte
	for _, k := range keys {
		secret := make([]byte, KeySize)
		for i := range secret {
			secret[i] = k
		}
		text = fmt.Appendf(text, "- {id: %d, key: %s}\n", k, base64.StdEncoding.EncodeToString(secret))
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRotationInUse turns a ring over while tokens are sealed and opened.
func TestRotationInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	writeRing(t, path, 1)
	ring, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey()
	first := ring.Seal(key)

	stop := make(chan struct{})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, err := ring.Open(ring.Seal(key)); err != nil || got.Key != key {
					t.Errorf("%v, %v", got, err)
					return
				}
			}
		})
	}
	writeRing(t, path, 2, 1)
	use, err := ring.Reload()
	if err != nil || use == nil {
		t.Fatalf("a changed file: %v", err)
	}
	if ring.Seal(key) != first {
		t.Error("the new key is used before its time")
	}
	use()
	close(stop)
	users.Wait()

	second := ring.Seal(key)
	if second == first {
		t.Error("the new key does not seal")
	}
	for _, token := range []string{first, second} {
		if got, err := ring.Open(token); err != nil || got.Key != key {
			t.Errorf("both keys open: %v, %v", got, err)
		}
	}
	writeRing(t, path, 2)
	if use, err = ring.Reload(); err != nil || use == nil {
		t.Fatalf("a changed file: %v", err)
	}
	use()
	if _, err := ring.Open(first); !errors.Is(err, edition.ErrNotFound) {
		t.Errorf("a key that was removed opens: %v", err)
	}
}

func TestReloadOfTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	writeRing(t, path, 2, 1)
	ring, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if use, err := ring.Reload(); err != nil || use != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	writeRing(t, path, 1, 2)
	if use, err := ring.Reload(); err != nil || use == nil {
		t.Errorf("the order counts, since the first key seals: %v", err)
	}
}

func TestReloadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	writeRing(t, path, 1)
	ring, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey()
	token := ring.Seal(key)
	for name, spoil := range map[string]func() error{
		"a fault":  func() error { return os.WriteFile(path, []byte("- {id: 1, key: short}\n"), 0o600) },
		"empty":    func() error { return os.WriteFile(path, nil, 0o600) },
		"not YAML": func() error { return os.WriteFile(path, []byte("{"), 0o600) },
		"gone":     func() error { return os.Remove(path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if use, err := ring.Reload(); use != nil || !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
		if ring.Seal(key) != token {
			t.Errorf("%s: the ring has changed", name)
		}
		writeRing(t, path, 1)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Reload(); !errors.Is(err, edition.ErrConfig) {
		t.Errorf("gone: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a lost file is made anew, which would void every endpoint")
	}
}
