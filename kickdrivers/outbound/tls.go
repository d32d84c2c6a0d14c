package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// TLS is how a driver proves itself to its provider and whom it believes. The
// zero TLS is what the system trusts, and no client certificate.
type TLS struct {
	// CAFile holds the certificates, PEM, that are trusted instead of the
	// system's.
	CAFile string `mapstructure:"ca_file"`
	// CertFile and KeyFile hold a client certificate with its chain and key,
	// PEM. They are read again with each connection: a renewed certificate
	// needs no restart.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
	// ServerName is the name in the provider's certificate where it is not
	// that of its URL.
	ServerName string `mapstructure:"server_name"`
}

// Faults says what is wrong with the files, each with its key. A certificate
// whose time is over is a fault.
func (t TLS) Faults() []error {
	var faults []error
	if _, err := t.roots(); err != nil {
		faults = append(faults, fmt.Errorf("ca_file: %w", err))
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
	case t.CertFile == "":
		faults = append(faults, errors.New("cert_file: is not given, though key_file is"))
	case t.KeyFile == "":
		faults = append(faults, errors.New("key_file: is not given, though cert_file is"))
	default:
		if err := t.checkPair(time.Now()); err != nil {
			faults = append(faults, fmt.Errorf("cert_file: %w", err))
		}
	}
	return faults
}

// Config returns the configuration of a client's end. Its error is the first
// of Faults.
func (t TLS) Config() (*tls.Config, error) {
	if faults := t.Faults(); len(faults) > 0 {
		return nil, faults[0]
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: t.ServerName}
	if t.CertFile != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			return &pair, err
		}
	}
	return c, nil
}

// roots returns the trusted certificates, nil for the system's.
func (t TLS) roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%q holds no certificate in PEM", t.CAFile)
	}
	return pool, nil
}

func (t TLS) checkPair(now time.Time) error {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return err
	}
	switch leaf := pair.Leaf; {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate in %q was valid until %s", t.CertFile, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate in %q is valid from %s", t.CertFile, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}
