package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
)

// firstRelay is the name of the relay that a server knows when none is
// configured: the default name of a relay.
const firstRelay = "relay"

// tokenFile holds the first relay's token.
func tokenFile(cfg configs.Server) string { return filepath.Join(cfg.Data, configs.TokenFileName) }

// knownRelays returns the relays that may connect. When none is configured it
// is one, whose token is made at the first start.
func knownRelays(cfg configs.Server) ([]configs.Peer, error) {
	if len(cfg.Relays) > 0 {
		return cfg.Relays, nil
	}
	file := tokenFile(cfg)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeToken(file)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: relay token: %w", edition.ErrConfig, err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return nil, fmt.Errorf("%w: relay token: %s is empty; remove it to have one made", edition.ErrConfig, file)
	}
	return []configs.Peer{{Name: firstRelay, Token: configs.Secret(token)}}, nil
}

// makeToken writes a random token for its owner alone (0600). The file is
// there whole or not at all.
func makeToken(path string) (token []byte, err error) {
	token = []byte(rand.Text() + "\n")
	f, err := os.CreateTemp(filepath.Dir(path), "."+configs.TokenFileName+"-*") // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = f.Write(token)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return token, nil
}
