package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
)

// firstRelay is the name of the relay that a server knows when none is
// configured: the default name of a relay.
const firstRelay = "relay"

// tokenFile holds the first relay's token.
func tokenFile(data string) string { return filepath.Join(data, configs.TokenFileName) }

// knownRelays returns the relays that may connect. When none is configured it
// is one, whose token is made at the first start.
func knownRelays(data string, configured []configs.Peer) ([]configs.Peer, error) {
	if len(configured) > 0 {
		return configured, nil
	}
	file := tokenFile(data)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := makeToken(file); err != nil {
			return nil, fmt.Errorf("%w: relay token: %w", edition.ErrConfig, err)
		}
	}
	token, err := configs.ReadTokens(file)
	if err != nil {
		return nil, fmt.Errorf("%w: relay token: %w; remove it to have one made", edition.ErrConfig, err)
	}
	return []configs.Peer{{Name: firstRelay, Token: token, TokenFile: file}}, nil
}

// makeToken writes a random token for its owner alone (0600). The file is
// there whole or not at all.
func makeToken(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+configs.TokenFileName+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(rand.Text() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
