package apnssim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"

	"github.com/edition-push/edition/kickdrivers/simtls"
)

// KeyID and TeamID are what Apple would show beside the signing key.
const (
	KeyID  = "EDITIONKEY"
	TeamID = "EDITIONSIM"
)

// KeyFile is the name of the file with the signing key of provider tokens. The
// other files that WriteFiles writes are named in package simtls.
const KeyFile = "AuthKey_" + KeyID + ".p8"

// secrets are made anew for each server.
type secrets struct {
	authority *simtls.Authority
	server    tls.Certificate
	signer    *ecdsa.PrivateKey // of provider tokens
}

func newSecrets(addr net.Addr) (s secrets, err error) {
	if s.authority, err = simtls.New("Edition APNs simulator"); err != nil {
		return s, err
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if a, ok := addr.(*net.TCPAddr); ok && !a.IP.IsUnspecified() {
		hosts = append(hosts, a.IP.String())
	}
	if s.server, err = s.authority.Server(hosts...); err != nil {
		return s, err
	}
	s.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return s, err
}

// WriteFiles writes into a folder what a sender needs: the authority to trust,
// a push certificate with its key, and the signing key of provider tokens. They
// fit this server alone.
func (s *Server) WriteFiles(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(s.secrets.signer)
	if err != nil {
		return err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return errors.Join(
		s.secrets.authority.WriteFiles(dir, "Apple Push Services: "+s.options.Topics[0]),
		os.WriteFile(filepath.Join(dir, KeyFile), key, 0o600),
	)
}

// Entry returns the keys of an entry of the driver apns that pushes to this
// server, with the files that WriteFiles has written.
func (s *Server) Entry(dir string) map[string]any {
	topics := make([]any, len(s.options.Topics))
	for i, t := range s.options.Topics {
		topics[i] = t
	}
	return map[string]any{
		"driver":    "apns",
		"host":      s.URL(),
		"topics":    topics,
		"token_key": map[string]any{"file": filepath.Join(dir, KeyFile)},
		"key_id":    KeyID,
		"team_id":   TeamID,
		"tls":       map[string]any{"ca_file": filepath.Join(dir, simtls.CAFile)},
	}
}
