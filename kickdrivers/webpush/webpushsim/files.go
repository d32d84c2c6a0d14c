package webpushsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/edition-push/edition/kickdrivers/simtls"
)

// The files that WriteFiles writes.
const (
	FileCA           = simtls.CAFile       // the authority to trust
	FileVAPIDKey     = "vapid.key"         // a private key to sign with
	FileSubscription = "subscription.json" // of a new user agent
)

// WriteFiles writes into a folder what one who sends here needs. There is no
// key among it when the simulator has been told the one it accepts.
func (s *Server) WriteFiles(dir string) error {
	if err := s.ca.WriteFiles(dir, "edition"); err != nil {
		return err
	}
	sub, err := s.Subscribe()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(sub, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, FileSubscription), append(b, '\n'), 0o600); err != nil {
		return err
	}
	if s.o.VAPIDKey != "" {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if b, err = key.Bytes(); err != nil {
		return err
	}
	b = base64.RawURLEncoding.AppendEncode(nil, b)
	return os.WriteFile(filepath.Join(dir, FileVAPIDKey), append(b, '\n'), 0o600)
}

// Entry returns the keys of an entry of the driver webpush that pushes to this
// server, with the files that WriteFiles has written.
func (s *Server) Entry(dir string) map[string]any {
	return map[string]any{
		"driver":    "webpush",
		"hosts":     []any{s.Addr()},
		"networks":  []any{"127.0.0.0/8", "::1/128"},
		"vapid_key": map[string]any{"file": filepath.Join(dir, FileVAPIDKey)},
		"subject":   "mailto:push@example.org",
		"tls":       map[string]any{"ca_file": filepath.Join(dir, FileCA)},
	}
}
