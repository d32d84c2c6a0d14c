package serve

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
)

// certs are the certificates of one listener. They can be exchanged while it
// is open: connections keep what they began with. nil speaks no TLS.
type certs struct {
	now atomic.Pointer[identity]
}

// identity is what new connections are made with.
type identity struct {
	config *tls.Config
	sum    [sha256.Size]byte // of the files
}

// newCerts reads a listener's certificates; it is nil when there are none.
func newCerts(c configs.TLS) (*certs, error) {
	if c.CertFile == "" {
		return nil, nil
	}
	id, err := readIdentity(c)
	if err != nil {
		return nil, err
	}
	s := new(certs)
	s.now.Store(id)
	return s, nil
}

// secure makes the listener speak TLS when there are certificates.
func (s *certs) secure(l net.Listener) net.Listener {
	if s == nil {
		return l
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.now.Load().config, nil },
	})
}

// reload reads the certificates again. use is nil when they are the same, and
// where a restart is needed, because TLS was turned on or off.
func (s *certs) reload(c configs.TLS) (use func(), err error) {
	if s == nil || c.CertFile == "" {
		return nil, nil
	}
	id, err := readIdentity(c)
	if err != nil || id.sum == s.now.Load().sum {
		return nil, err
	}
	return func() { s.now.Store(id) }, nil
}

func readIdentity(c configs.TLS) (*identity, error) {
	cert, err := readAll(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: tls: %w", edition.ErrConfig, err)
	}
	pair, err := tls.X509KeyPair(cert[0], cert[1])
	if err != nil {
		return nil, fmt.Errorf("%w: tls: %w", edition.ErrConfig, err)
	}
	// Clients of WebSockets (RFC 6455) ask for HTTP/1.1 or for nothing.
	t := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.ClientCAFile != "" {
		ca, err := readAll(c.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: tls.client_ca_file: %w", edition.ErrConfig, err)
		}
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(ca[0]) {
			return nil, fmt.Errorf("%w: tls.client_ca_file: %s holds no PEM certificate", edition.ErrConfig, c.ClientCAFile)
		}
		t.ClientAuth = tls.VerifyClientCertIfGiven // devices have none
		cert = append(cert, ca...)
	}
	return &identity{config: t, sum: sha256.Sum256(bytes.Join(cert, []byte{0}))}, nil
}

func readAll(files ...string) ([][]byte, error) {
	texts := make([][]byte, len(files))
	for i, file := range files {
		var err error
		if texts[i], err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	return texts, nil
}
