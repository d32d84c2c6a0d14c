package server

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
)

func TestTokenIsMadeOnce(t *testing.T) {
	cfg := configs.DefaultServer()
	cfg.Data = t.TempDir()
	first, err := knownRelays(cfg.Data, cfg.Relays)
	if err != nil || len(first) != 1 || first[0].Name != configs.DefaultRelay().Name || len(first[0].Token) < 20 {
		t.Fatalf("got %+v, %v", first, err)
	}
	st, err := os.Stat(tokenFile(cfg.Data))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", st, err)
	}
	second, err := knownRelays(cfg.Data, cfg.Relays)
	if err != nil || second[0].Token != first[0].Token {
		t.Errorf("at the second start the token is another: %v", err)
	}
	if left, err := os.ReadDir(cfg.Data); err != nil || len(left) != 1 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

func TestEmptyTokenIsRefused(t *testing.T) {
	cfg := configs.DefaultServer()
	cfg.Data = t.TempDir()
	if err := os.WriteFile(tokenFile(cfg.Data), []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := knownRelays(cfg.Data, cfg.Relays); !errors.Is(err, edition.ErrConfig) || !strings.Contains(err.Error(), "empty") {
		t.Errorf("got %v", err)
	}
}

func TestConfiguredRelaysNeedNoToken(t *testing.T) {
	cfg := configs.DefaultServer()
	cfg.Data = t.TempDir()
	cfg.Relays = []configs.Peer{{Name: "north", Token: "n"}}
	relays, err := knownRelays(cfg.Data, cfg.Relays)
	if err != nil || len(relays) != 1 || relays[0].Name != "north" {
		t.Errorf("got %+v, %v", relays, err)
	}
	if _, err := os.Stat(tokenFile(cfg.Data)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a token was made: %v", err)
	}
}
