package fcm_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/fcm"
	"github.com/edition-push/edition/kickdrivers/fcm/fcmsim"
)

// TestFaults breaks a good configuration in one way each.
func TestFaults(t *testing.T) {
	p := start(t, fcmsim.Options{})
	good := readAccount(t, filepath.Join(p.dir, fcmsim.AccountFile))
	// with returns a change of the configuration to an account that is another.
	with := func(key, value string) func(*fcm.Config) {
		return func(c *fcm.Config) {
			a := maps.Clone(good)
			a[key] = value
			c.ServiceAccount.File = writeAccount(t, a)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*fcm.Config){
		"service_account: is not given":                          func(c *fcm.Config) { c.ServiceAccount = driver.Secret{} },
		"service_account: open ":                                 func(c *fcm.Config) { c.ServiceAccount.File = "nowhere" },
		"service_account: is not the JSON key file":              func(c *fcm.Config) { c.ServiceAccount.File = c.TLS.CAFile },
		"service_account: is not the JSON key file of":           with("type", "external_account"),
		"service_account: has no client_email":                   with("client_email", ""),
		"service_account: has a token_uri that is not an https":  with("token_uri", "http://127.0.0.1/token"),
		"service_account: has no private_key in PEM":             with("private_key", "secret"),
		"service_account: has a private_key that cannot be read": with("private_key", encode(t, []byte("x"))),
		"service_account: has a private_key of 1024 bits":        with("private_key", encodeKey(t, small)),
		"service_account: has a private_key that is not RSA":     with("private_key", encodeKey(t, elliptical)),
		`project: "My App" is not the id`:                        func(c *fcm.Config) { c.Project = "My App" },
		"project: is not given, and the service account's":       with("project_id", ""),
		`host: "http://fcm.googleapis.com" is not such as`:       func(c *fcm.Config) { c.Host = "http://fcm.googleapis.com" },
		`host: "https://a/v1" is not such as`:                    func(c *fcm.Config) { c.Host = "https://a/v1" },
		"tls.ca_file: open ":                                     func(c *fcm.Config) { c.TLS.CAFile = "nowhere" },
		"ttl: 673h0m0s is not between":                           func(c *fcm.Config) { c.TTL = 673 * time.Hour },
		"ttl: -1s is not between":                                func(c *fcm.Config) { c.TTL = -time.Second },
		`collapse_key: "a b" is not at most 64`:                  func(c *fcm.Config) { c.CollapseKey = "a b" },
		"connections: 65 is not between 1 and 64":                func(c *fcm.Config) { c.Connections = 65 },
		"parallel_requests: 0 is not between 1 and":              func(c *fcm.Config) { c.ParallelRequests = 0 },
		"timeout: 0s is not between 100ms and 5m":                func(c *fcm.Config) { c.Timeout = 0 },
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
		if len(faults) > 0 && (strings.Contains(faults[0].Error(), "secret") || strings.Contains(faults[0].Error(), good["private_key"])) {
			t.Errorf("a fault tells the key: %q", faults)
		}
		if d, err := fcm.New(c, driver.Env{}); !errors.Is(err, edition.ErrConfig) || d != nil {
			t.Errorf("%s: New = %v, %v", want, d, err)
		}
	}
}

// TestAccounts are key files that differ from Google's present ones.
func TestAccounts(t *testing.T) {
	p := start(t, fcmsim.Options{})
	good := readAccount(t, filepath.Join(p.dir, fcmsim.AccountFile))
	good["private_key"] = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(accountKey())}))
	delete(good, "project_id")
	c := p.config()
	c.ServiceAccount.File = writeAccount(t, good)
	c.Project = "edition-sim"
	if err := kick(t.Context(), t, open(t, c), device(1))[0]; err != nil {
		t.Errorf("a key in PKCS #1, the project elsewhere: %v", err)
	}
	c.Project = "another-project"
	if err := kick(t.Context(), t, open(t, c), device(1))[0]; !isOnly(err, edition.ErrUnavailable) {
		t.Errorf("another project: %v", err)
	}
	delete(good, "token_uri")
	c.ServiceAccount.File = writeAccount(t, good)
	if faults := c.Faults(); len(faults) > 0 {
		t.Errorf("without token_uri: %v", faults)
	}
}

// TestWrongProof is refused by the token endpoint, and no target's fault.
func TestWrongProof(t *testing.T) {
	p := start(t, fcmsim.Options{})
	good := readAccount(t, filepath.Join(p.dir, fcmsim.AccountFile))
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"private_key":    encodeKey(t, other),
		"private_key_id": "another",
		"client_email":   "somebody@else",
	} {
		a := maps.Clone(good)
		a[key] = value
		c := p.config()
		c.ServiceAccount.File = writeAccount(t, a)
		if err := kick(t.Context(), t, open(t, c), device(1))[0]; !isOnly(err, edition.ErrUnavailable) || !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("another %s: %v", key, err)
		}
	}
	if len(p.all()) > 0 {
		t.Error("a message with a wrong proof was accepted")
	}
}

func readAccount(t *testing.T, file string) (a map[string]string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func writeAccount(t *testing.T, a map[string]string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "account.json")
	b, err := json.Marshal(a)
	if err == nil {
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func encodeKey(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, der)
}

func encode(t *testing.T, der []byte) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
