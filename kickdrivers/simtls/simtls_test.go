package simtls_test

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"

	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

// TestHandshake connects with what was written into files to a server that
// demands a client's certificate.
func TestHandshake(t *testing.T) {
	a, err := simtls.New("test authority")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := a.WriteFiles(dir, "edition"); err != nil {
		t.Fatal(err)
	}
	server, err := a.Server()
	if err != nil {
		t.Fatal(err)
	}
	other, err := simtls.New("another authority")
	if err != nil {
		t.Fatal(err)
	}
	conf, err := outbound.TLS{
		CAFile:   filepath.Join(dir, simtls.CAFile),
		CertFile: filepath.Join(dir, simtls.CertFile),
		KeyFile:  filepath.Join(dir, simtls.KeyFile),
	}.Config()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "example.org"} {
		conf := conf.Clone()
		conf.ServerName = host
		name, err := handshake(t, &tls.Config{
			Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool(),
		}, conf)
		if host == "example.org" {
			if err == nil {
				t.Error("the server is taken for example.org")
			}
		} else if err != nil || name != "edition" {
			t.Errorf("as %s: the client is %q, %v", host, name, err)
		}
	}
	if _, err := handshake(t, &tls.Config{
		Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: other.Pool(),
	}, conf); err == nil {
		t.Error("a client of another authority is believed")
	}
}

// handshake returns the name in the certificate that the server has seen.
func handshake(t *testing.T, server, client *tls.Config) (string, error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	if client.ServerName == "" {
		client = client.Clone()
		client.ServerName = "localhost"
	}
	failed := make(chan error, 1)
	go func() {
		c := tls.Client(there, client)
		err := c.HandshakeContext(t.Context())
		if err != nil {
			there.Close() // or the server would wait
		} else {
			_, err = c.Read(make([]byte, 1)) // what it thinks of our certificate
		}
		failed <- err
	}()
	s := tls.Server(here, server)
	if err := s.HandshakeContext(t.Context()); err != nil {
		here.Close()
		<-failed
		return "", err
	}
	here.Close()
	<-failed
	return s.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}
