package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/SherClockHolmes/webpush-go"
)

// mustRun is set by `make e2e`, which installs what these tests need: none of
// them may be skipped then.
var mustRun = os.Getenv("EDITION_E2E") != ""

// skip skips a test that lacks something, or fails it under `make e2e`.
func skip(t *testing.T, why string) {
	t.Helper()
	if mustRun {
		t.Fatal(why)
	}
	t.Skip(why)
}

// runNode runs a script of the folder peers, which gets input on its stdin, as
// JSON, and returns its output. A script has 2*patience.
func runNode(t *testing.T, script string, env []string, input any) []byte {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		skip(t, "node is not installed")
	}
	if _, err := os.Stat(filepath.Join("peers", "node_modules", ".installed")); err != nil {
		skip(t, "the npm packages of e2e/peers are not installed: make peers does it")
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, filepath.Join("peers", script))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, tail(stderr.String(), 2000))
	}
	return out
}

// authority signs the certificate of a server on loopback, for senders that
// speak HTTPS only.
type authority struct {
	ca, cert, key string // files
	pool          *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	dir := t.TempDir()
	a := &authority{
		ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
		pool: x509.NewCertPool(),
	}
	caKey, caCert := certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "e2e CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	key, cert := certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, caCert, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.ca:   {Type: "CERTIFICATE", Bytes: caCert.Raw},
		a.cert: {Type: "CERTIFICATE", Bytes: cert.Raw},
		a.key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.pool.AddCert(caCert)
	return a
}

// certificate makes a key and its certificate, signed by parent, or by itself.
func certificate(t *testing.T, c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, by = c, key
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// secure makes a server speak HTTPS alone. It is called before start.
func (a *authority) secure(n *node) *node {
	plain := n.url
	n.url = strings.Replace(plain, "http:", "https:", 1)
	for i, arg := range n.args {
		if arg == plain {
			n.args[i] = n.url
		}
	}
	n.env = append(n.env, "EDITION_TLS_CERT_FILE="+a.cert, "EDITION_TLS_KEY_FILE="+a.key)
	return n
}

// client speaks HTTPS with servers that the authority has signed for.
func (a *authority) client() *http.Client {
	return &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
	}
}

// keyPair is an app server's VAPID key (RFC 8292), in base64url.
type keyPair struct{ public, private string }

func newKeyPair(t *testing.T) keyPair {
	t.Helper()
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{public, private}
}

// subscription is what a browser gives a page, in the words of the Push API.
type subscription struct {
	Endpoint string `json:"endpoint"`
	Keys     struct {
		P256dh string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// parcel is one push to send.
type parcel struct {
	to       subscription
	by       keyPair // the zero one signs nothing
	payload  string  // empty: an empty push
	encoding string  // empty: aes128gcm
	topic    string
	urgency  string
}

// sent is what a sender was answered.
type sent struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"` // names in lower case
	Body    string            `json:"body"`
}

// sendByNode sends with the npm package web-push.
func sendByNode(t *testing.T, a *authority, p parcel) (s sent) {
	t.Helper()
	options := obj{"TTL": 600, "timeout": patience.Milliseconds()}
	for name, value := range map[string]string{"contentEncoding": p.encoding, "topic": p.topic, "urgency": p.urgency} {
		if value != "" {
			options[name] = value
		}
	}
	job := obj{"subscription": p.to, "options": options}
	if p.payload != "" {
		job["payload"] = p.payload
	}
	if p.by.public != "" {
		job["vapid"] = obj{"subject": "mailto:push@example.org", "publicKey": p.by.public, "privateKey": p.by.private}
	}
	out := runNode(t, "send.js", []string{"NODE_EXTRA_CA_CERTS=" + a.ca}, job)
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("send.js wrote %q: %v", out, err)
	}
	return s
}

// sendByGo sends with the Go package webpush-go.
func sendByGo(t *testing.T, a *authority, p parcel) (s sent) {
	t.Helper()
	to := webpush.Subscription{Endpoint: p.to.Endpoint, Keys: webpush.Keys{P256dh: p.to.Keys.P256dh, Auth: p.to.Keys.Auth}}
	resp, err := webpush.SendNotification([]byte(p.payload), &to, &webpush.Options{
		HTTPClient: a.client(), TTL: 600, Topic: p.topic, Urgency: webpush.Urgency(p.urgency),
		Subscriber: "push@example.org", VAPIDPublicKey: p.by.public, VAPIDPrivateKey: p.by.private,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	body.ReadFrom(resp.Body)
	s = sent{Status: resp.StatusCode, Headers: make(map[string]string), Body: body.String()}
	for name := range resp.Header {
		s.Headers[strings.ToLower(name)] = resp.Header.Get(name)
	}
	return s
}

// expect checks the status of an answer.
func (s sent) expect(t *testing.T, status int) {
	t.Helper()
	if s.Status != status {
		t.Fatalf("answered %d, want %d: %s", s.Status, status, s.Body)
	}
}
