package apns_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/apns"
	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

func TestDefaults(t *testing.T) {
	p := start(t, apnssim.Options{})
	c := p.config()
	c.Host = ""
	for _, sandbox := range []bool{false, true} {
		c.Sandbox = sandbox
		d := open(t, c)
		target, err := d.Check(targetOf(device(1)), from, 500)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := d.Show(driver.Kick{Target: target})
		want := "POST https://api.push.apple.com/3/device/"
		if sandbox {
			want = "POST https://api.sandbox.push.apple.com/3/device/"
		}
		if err != nil || !strings.HasPrefix(shown, want) {
			t.Errorf("sandbox %v: %s, %v; want %s", sandbox, shown, err, want)
		}
	}
}

// TestFaults breaks a good configuration in one way each.
func TestFaults(t *testing.T) {
	p := start(t, apnssim.Options{})
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ofRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*apns.Config){
		"topics: none is given":                       func(c *apns.Config) { c.Topics = nil },
		`topics[1]: "nodots" is not a bundle id`:      func(c *apns.Config) { c.Topics = append(c.Topics, "nodots") },
		`topics[0]: "a.b.voip" is not for background`: func(c *apns.Config) { c.Topics = []string{"a.b.voip"} },
		`topics[1]: "com.example.app" is given twice`: func(c *apns.Config) { c.Topics = []string{topic, topic} },
		"token_key: is not given, and tls.cert_file":  func(c *apns.Config) { c.TokenKey = driver.Secret{} },
		"token_key: and tls.cert_file are both given": func(c *apns.Config) {
			key := c.TokenKey
			byCertificate(p, c)
			c.TokenKey = key
		},
		"token_key: open ": func(c *apns.Config) { c.TokenKey.File = p.file("nowhere") },
		"token_key: is not a key as Apple makes them (.p8)": func(c *apns.Config) { c.TokenKey.File = p.file(simtls.CAFile) },
		"token_key: cannot sign":                            func(c *apns.Config) { c.TokenKey.File = writeKey(t, p384) },
		"token_key: is not a key as Apple":                  func(c *apns.Config) { c.TokenKey.File = writeKey(t, ofRSA) },
		`key_id: "ABC" is not 10`:                           func(c *apns.Config) { c.KeyID = "ABC" },
		`team_id: "" is not 10`:                             func(c *apns.Config) { c.TeamID = "" },
		"tls.ca_file: open ":                                func(c *apns.Config) { c.TLS.CAFile = p.file("nowhere") },
		"tls.cert_file: is not given, though key_file is":   func(c *apns.Config) { c.TLS.KeyFile = p.file(simtls.KeyFile) },
		`host: "http://127.0.0.1" is not such as`:           func(c *apns.Config) { c.Host = "http://127.0.0.1" },
		`host: "https://a/b" is not such as`:                func(c *apns.Config) { c.Host = "https://a/b" },
		`push: "voip" is not background or alert`:           func(c *apns.Config) { c.Push = "voip" },
		"alert: has neither title nor body":                 func(c *apns.Config) { c.Push = "alert" },
		`alert: is given, but push is "background"`:         func(c *apns.Config) { c.Alert.Title = "x" },
		"alert: makes a push of 4135 bytes": func(c *apns.Config) {
			c.Push, c.Alert.Body = "alert", strings.Repeat("x", 4063)
		},
		"expiration: -1s is not between":               func(c *apns.Config) { c.Expiration = -time.Second },
		"expiration: 721h0m0s is not between":          func(c *apns.Config) { c.Expiration = 721 * time.Hour },
		`collapse_id: "a b" is not at most 64`:         func(c *apns.Config) { c.CollapseID = "a b" },
		"connections: 0 is not between 1 and 64":       func(c *apns.Config) { c.Connections = 0 },
		"parallel_requests: 0 is not between 1 and":    func(c *apns.Config) { c.ParallelRequests = 0 },
		"timeout: 1ms is not between 100ms and 5m":     func(c *apns.Config) { c.Timeout = time.Millisecond },
		`topics[0]: "com.example.c" is not one of`:     func(c *apns.Config) { certified(t, c, time.Hour, nil, "com.example.b"); c.Topics[0] = "com.example.c" },
		"sandbox: true, but the certificate in":        func(c *apns.Config) { certified(t, c, time.Hour, []int{2}); c.Sandbox = true },
		"tls.cert_file: the certificate in":            func(c *apns.Config) { certified(t, c, -time.Hour, nil) },
		"sandbox: false, but the certificate in":       func(c *apns.Config) { certified(t, c, time.Hour, []int{1}) },
		"tls.cert_file: tls: private key does not mat": func(c *apns.Config) { byCertificate(p, c); c.TLS.KeyFile = p.file(apnssim.KeyFile) },
	} {
		c := p.config()
		if faults := c.Faults(); len(faults) > 0 {
			t.Fatal(faults)
		}
		change(&c)
		faults := c.Faults()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), want) {
			t.Errorf("faults %q, want %s", faults, want)
		}
		if d, err := apns.New(c, driver.Env{}); !errors.Is(err, edition.ErrConfig) || d != nil {
			t.Errorf("%s: New = %v, %v", want, d, err)
		}
	}
}

// TestExpiresSoon warns at the start of a certificate's last month.
func TestExpiresSoon(t *testing.T) {
	p := start(t, apnssim.Options{})
	for _, c := range []struct {
		left   time.Duration
		marks  []int
		topics []string
		warns  bool
	}{
		{20 * 24 * time.Hour, nil, nil, true},
		{20 * 24 * time.Hour, []int{1, 2}, []string{topic}, true},
		{40 * 24 * time.Hour, []int{2}, []string{"com.example.other", topic}, false},
	} {
		conf := p.config()
		certified(t, &conf, c.left, c.marks, c.topics...)
		if faults := conf.Faults(); len(faults) > 0 {
			t.Fatal(faults)
		}
		var log bytes.Buffer
		d, err := apns.New(conf, driver.Env{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "level=WARN msg=\"the push certificate expires soon\""); got != c.warns {
			t.Errorf("%v left: log %q", c.left, log.String())
		}
	}
}

// certified has a configuration prove itself by a certificate that ends after
// a time and bears Apple's marks: 1 for development, 2 for production.
// With topics it says which those are: one as its user id, all in a list.
func certified(t *testing.T, c *apns.Config, left time.Duration, marks []int, topics ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "test"},
		NotBefore:    time.Now().Add(-365 * 24 * time.Hour),
		NotAfter:     time.Now().Add(left),
	}
	for _, m := range marks {
		cert.ExtraExtensions = append(cert.ExtraExtensions, pkix.Extension{
			Id: asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, m}, Value: asn1.NullBytes,
		})
	}
	if len(topics) > 0 {
		cert.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: topics[0]}}
		var list []asn1.RawValue
		for _, topic := range topics {
			name, err := asn1.MarshalWithParams(topic, "utf8")
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, asn1.RawValue{FullBytes: name}, asn1.RawValue{FullBytes: []byte("\x30\x05\x0c\x03app")})
		}
		value, err := asn1.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		cert.ExtraExtensions = append(cert.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}, Value: value})
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c.TokenKey, c.KeyID, c.TeamID = driver.Secret{}, "", ""
	c.TLS.CertFile, c.TLS.KeyFile = writePEM(t, "CERTIFICATE", der), writeKey(t, key)
}

func writeKey(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "PRIVATE KEY", der)
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
