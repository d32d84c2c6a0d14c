package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// certificate makes a certificate that signs itself and writes it as PEM.
func certificate(t *testing.T, name string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", raw), pool
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTLS connects by both transports to an upstream that wants a client
// certificate, and is told apart what is wrong on which side.
func TestTLS(t *testing.T) {
	certFile, keyFile, pool := certificate(t, "relay")
	names := make(chan string, 10)
	up := &upstream{t: t, ws: func(p *peer) { p.hello(); p.drain() }, api: (&shelf{t: t}).api()}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case names <- r.TLS.PeerCertificates[0].Subject.CommonName:
		default:
		}
		up.ServeHTTP(w, r)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close(); up.conns.Wait() })
	caFile := writePEM(t, "CERTIFICATE", s.Certificate().Raw)

	config, err := TLS(caFile, certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{ModeWebSocket, ModePoll} {
		c := newClient(t, Config{URL: s.URL, Mode: mode, TLS: config, Relay: "relay"})
		run(t, c)
		if name := within(t, names, "a request"); name != "relay" {
			t.Errorf("certificate of %q", name)
		}
		eventually(t, "connected", func() bool { return c.State().Connected })
	}

	for _, bad := range []struct{ ca, cert, key string }{
		{"", certFile, keyFile},       // upstream's certificate is not trusted
		{caFile, "", ""},              // no certificate of ours
		{certFile, certFile, keyFile}, // another authority
	} {
		config, err := TLS(bad.ca, bad.cert, bad.key)
		if err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{ModeAuto, ModePoll} {
			c := newClient(t, Config{URL: s.URL, Mode: mode, TLS: config, Relay: "relay"})
			err := c.connect(t.Context())
			// That our certificate is missing we hear after the handshake (TLS 1.3). A
			// request that is late finds the connection closed, and cannot tell why.
			for n := 0; n < 20 && ReasonOf(err) == ReasonClosed; n++ {
				err = c.connect(t.Context())
			}
			if ReasonOf(err) != ReasonTLS || !errors.Is(err, edition.ErrUnavailable) {
				t.Errorf("%s %+v: reason %q: %v", mode, bad, ReasonOf(err), err)
			}
		}
	}
}

func TestTLSFiles(t *testing.T) {
	certFile, keyFile, _ := certificate(t, "x")
	for _, c := range [][3]string{{keyFile, "", ""}, {"/nowhere", "", ""}, {"", certFile, ""}, {"", keyFile, certFile}} {
		if _, err := TLS(c[0], c[1], c[2]); !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%q: %v", c, err)
		}
	}
	if c, err := TLS("", "", ""); c != nil || err != nil {
		t.Errorf("%v %v", c, err)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{URL: ""},
		{URL: "push.test"},
		{URL: "ftp://x"},
		{URL: "http://"},
		{URL: "http://u:p@x"},
		{URL: "http://x?a=b"},
		{URL: "http://x", Mode: "pigeon"},
		{URL: "http://x", Wait: wire.MaxWait + 1},
		{URL: "http://x", Interval: -1},
	} {
		if _, err := New(c); !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	c := newClient(t, Config{URL: "https://x.test/push/"})
	if c.dial.url != "wss://x.test/push/v1/ws" || c.rest.base != "https://x.test/push" || c.cfg.Wait != DefaultWait {
		t.Errorf("%s %s %v", c.dial.url, c.rest.base, c.cfg.Wait)
	}
}
