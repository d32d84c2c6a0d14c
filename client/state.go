package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// stateFormat is the version of the state file.
const stateFormat = 1

// state is who a device is and what its apps have seen: the state file.
type state struct {
	Format int          `json:"format"`
	URL    string       `json:"url"` // of the upstream that made the endpoints
	UAID   edition.UAID `json:"uaid"`
	Secret string       `json:"secret"`
	Apps   []*appState  `json:"apps"`
}

type appState struct {
	Name     string           `json:"name"`
	AppID    edition.AppID    `json:"appid"`
	Endpoint string           `json:"endpoint,omitempty"` // empty until registered
	Key      wire.Data        `json:"key,omitempty"`      // see App
	Version  *edition.Version `json:"version,omitempty"`  // the last that the app was called with
	Leaving  bool             `json:"leaving,omitempty"`  // upstream is still to be told that it is unregistered
}

// loadState reads a state file, or makes a new device when there is none. A
// file that is not a whole state file is edition.ErrDamaged and left alone.
func loadState(path string) (*state, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{Format: stateFormat, UAID: edition.NewUAID(), Secret: edition.NewSecret()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, err)
	}
	s := new(state)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%w: %s is not a device's state file (%w); move it away to start as a new device",
			edition.ErrDamaged, path, err)
	}
	if s.Format > stateFormat {
		return nil, fmt.Errorf("%w: %s has format %d, this program knows formats up to %d",
			edition.ErrDamaged, path, s.Format, stateFormat)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w; move it away to start as a new device", edition.ErrDamaged, path, err)
	}
	return s, nil
}

func (s *state) check() error {
	if s.Format < 1 || s.UAID == (edition.UAID{}) {
		return errors.New("no format or no uaid")
	}
	if _, err := edition.ProofOf(s.Secret); err != nil {
		return err
	}
	ids, names := make(map[edition.AppID]bool), make(map[string]bool)
	for _, a := range s.Apps {
		switch {
		case a == nil || a.AppID == (edition.AppID{}):
			return errors.New("an app without an appid")
		case ids[a.AppID]:
			return errors.New("an appid is there twice")
		case names[a.Name] && !a.Leaving:
			return fmt.Errorf("app %q is there twice", a.Name)
		}
		ids[a.AppID] = true
		names[a.Name] = names[a.Name] || !a.Leaving
	}
	return nil
}

// save replaces the state file, so that a crash leaves the old one or the new
// one, and returns when the new one is on disk.
func (s *state) save(path string) (err error) {
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name()) //nolint:errcheck // the first error tells
		}
	}()
	if _, err = f.Write(append(b, '\n')); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// saw reports whether the app was called with a version, or a greater one.
func (a *appState) saw(v edition.Version) bool { return a.Version != nil && v <= *a.Version }

func (s *state) app(id edition.AppID) *appState {
	for _, a := range s.Apps {
		if a.AppID == id && !a.Leaving {
			return a
		}
	}
	return nil
}

func (s *state) named(name string) *appState {
	for _, a := range s.Apps {
		if a.Name == name && !a.Leaving {
			return a
		}
	}
	return nil
}
