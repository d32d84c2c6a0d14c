package client

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

func statePath(t *testing.T) string { return filepath.Join(t.TempDir(), "device.json") }

func TestStateRoundTrip(t *testing.T) {
	path := statePath(t)
	s, err := loadState(path)
	if err != nil {
		t.Fatal(err)
	}
	v := edition.MaxVersion
	s.Apps = []*appState{
		{Name: "mail", AppID: edition.NewAppID(), Endpoint: "http://x", Version: &v},
		{Name: "mail", AppID: edition.NewAppID(), Leaving: true},
	}
	for range 2 { // makes it, replaces it
		if err := s.save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := loadState(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.UAID != s.UAID || got.Secret != s.Secret || *got.Apps[0].Version != v || !got.Apps[1].Leaving || got.named("mail") != got.Apps[0] {
		t.Errorf("%+v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("files are left beside the state: %v", files)
	}
}

// TestStateDamaged refuses every file that is not a whole state file, and
// leaves it as it was.
func TestStateDamaged(t *testing.T) {
	good := statePath(t)
	d, err := OpenDevice(DeviceConfig{Config: Config{URL: "http://x.test"}, State: good})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Register(App{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"empty": "", "foreign": "hello", "other JSON": "[]", "object": "{}",
		"newer":      strings.Replace(string(whole), `"format": 1`, `"format": 2`, 1),
		"bad uaid":   strings.Replace(string(whole), d.UAID().String(), "x", 1),
		"bad secret": strings.Replace(string(whole), d.who.Secret, "x", 1),
		"no appid":   `{"format":1,"uaid":"` + d.UAID().String() + `","secret":"` + d.who.Secret + `","apps":[{}]}`,
		"null app":   `{"format":1,"uaid":"` + d.UAID().String() + `","secret":"` + d.who.Secret + `","apps":[null]}`,
	}
	for n := 1; n < len(bytes.TrimSpace(whole)); n += 7 {
		bad["cut at "+string(rune('0'+n%10))+strings.Repeat("x", n)] = string(whole[:n])
	}
	for name, text := range bad {
		path := statePath(t)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenDevice(DeviceConfig{Config: Config{URL: "http://x.test"}, State: path})
		if !errors.Is(err, edition.ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20s: %v", name, err)
		}
		if after, _ := os.ReadFile(path); string(after) != text {
			t.Errorf("%.20s: the file was changed", name)
		}
	}
}

// TestStateSurvivesAFailedWrite has the folder refuse a new file: the old state
// stays, and the caller is told.
func TestStateSurvivesAFailedWrite(t *testing.T) {
	if os.Getuid() == 0 {
		// root writes everywhere: take the folder away instead
		path := filepath.Join(t.TempDir(), "d", "device.json")
		_ = os.Mkdir(filepath.Dir(path), 0o700)
		d, err := OpenDevice(DeviceConfig{Config: Config{URL: "http://x.test"}, State: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Dir(path), filepath.Dir(path)+"2"); err != nil {
			t.Fatal(err)
		}
		if err := d.Register(App{Name: "a"}); !errors.Is(err, edition.ErrUnavailable) || len(d.Apps()) != 0 {
			t.Errorf("%v, %d apps", err, len(d.Apps()))
		}
		return
	}
	path := statePath(t)
	d, err := OpenDevice(DeviceConfig{Config: Config{URL: "http://x.test"}, State: path})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	_ = os.Chmod(filepath.Dir(path), 0o500)
	defer func() { _ = os.Chmod(filepath.Dir(path), 0o700) }()
	if err := d.Register(App{Name: "a"}); !errors.Is(err, edition.ErrUnavailable) || len(d.Apps()) != 0 {
		t.Errorf("%v, %d apps", err, len(d.Apps()))
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the state file was changed")
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":1,"url":"http://x","uaid":"0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","apps":[{"name":"a","appid":"0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d","version":3}]}`))
	f.Add([]byte(`{"apps":[null]}`))
	path := filepath.Join(f.TempDir(), "state")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := loadState(path)
		if err != nil {
			if !errors.Is(err, edition.ErrDamaged) {
				t.Errorf("%v", err)
			}
			return
		}
		if err := s.save(path); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(path); err != nil {
			t.Errorf("what was loaded and saved does not load: %v", err)
		}
	})
}
