package outbound

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pair writes a certificate and its key, valid around now, into dir.
func pair(t *testing.T, dir string, from, to time.Duration) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return certFile, keyFile
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTLSFaults(t *testing.T) {
	cert, key := pair(t, t.TempDir(), -time.Hour, time.Hour)
	old, oldKey := pair(t, t.TempDir(), -2*time.Hour, -time.Hour)
	early, earlyKey := pair(t, t.TempDir(), time.Hour, 2*time.Hour)
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		tls  TLS
		want []string // how the faults begin
	}{
		{TLS{}, nil},
		{TLS{CAFile: cert, CertFile: cert, KeyFile: key}, nil},
		{TLS{CAFile: none, CertFile: none, KeyFile: key}, []string{"ca_file: ", "cert_file: "}},
		{TLS{CAFile: key}, []string{"ca_file: "}},
		{TLS{CertFile: cert}, []string{"key_file: "}},
		{TLS{KeyFile: key}, []string{"cert_file: "}},
		{TLS{CertFile: cert, KeyFile: oldKey}, []string{"cert_file: "}},
		{TLS{CertFile: old, KeyFile: oldKey}, []string{"cert_file: the certificate"}},
		{TLS{CertFile: early, KeyFile: earlyKey}, []string{"cert_file: the certificate"}},
	} {
		got := c.tls.Faults()
		ok := len(got) == len(c.want)
		for i := range got {
			ok = ok && strings.HasPrefix(got[i].Error(), c.want[i])
		}
		if !ok {
			t.Errorf("%+v: faults %v, want %v", c.tls, got, c.want)
		}
		if _, err := New(Options{TLS: c.tls}); (err == nil) != (c.want == nil) {
			t.Errorf("%+v: New: %v", c.tls, err)
		}
	}
}

// TestClientCertificate shows that a certificate is shown, and that one that
// has been renewed is used without a new client.
func TestClientCertificate(t *testing.T) {
	var seen atomic.Pointer[big.Int]
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen.Store(r.TLS.PeerCertificates[0].SerialNumber)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	cert, key := pair(t, dir, -time.Hour, time.Hour)
	hc := client(t, Options{TLS: TLS{CAFile: ca, CertFile: cert, KeyFile: key, ServerName: "example.com"}})
	if _, err := post(t, hc, s.URL); err != nil {
		t.Fatal(err)
	}
	first := seen.Load()
	pair(t, dir, -time.Hour, time.Hour)
	hc.CloseIdleConnections()
	if _, err := post(t, hc, s.URL); err != nil || seen.Load().Cmp(first) == 0 {
		t.Errorf("after the certificate was renewed: %v, shown are %v and %v", err, first, seen.Load())
	}
}
