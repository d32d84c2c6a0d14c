package server

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
)

// TestLostKeys: a server whose data is there and whose key file is not says so,
// and only then.
func TestLostKeys(t *testing.T) {
	cfg := configs.DefaultServer()
	cfg.Listen, cfg.Admin, cfg.Data, cfg.Drain = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 10*time.Millisecond
	start := func() string {
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := Run(ctx, cfg, serve.Options{
			Log:   slog.New(slog.NewTextHandler(&log, nil)),
			Ready: func(serve.Addrs) { cancel() },
		})
		if err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	if strings.Contains(start(), "lost its endpoint keys") {
		t.Error("warned at the first start")
	}
	if strings.Contains(start(), "lost its endpoint keys") {
		t.Error("warned with the keys in place")
	}
	if err := os.Remove(cfg.KeyringFile()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(start(), "lost its endpoint keys") {
		t.Error("no warning of lost keys")
	}
}
