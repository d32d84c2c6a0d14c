package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/client"
	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/cmd/server"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/leak"
)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// certificates makes an authority and, signed by it, a certificate for name,
// and returns the files.
func certificates(t *testing.T, name string) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(file, kind string, der []byte) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	cert = write("cert.pem", "CERTIFICATE", der)
	return cert, cert, write("key.pem", "PRIVATE KEY", raw)
}

// ground is what every role of the test has: free ports, a folder, no drain.
func ground(t *testing.T, n *configs.Node, relays ...configs.Peer) {
	t.Helper()
	n.Listen, n.Admin, n.Data, n.Drain, n.Relays = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 0, relays
}

// TestManyInOneProcess runs two servers and three relays beside each other:
// one server is reached by a client certificate over TLS, one relay has both
// servers above it, and one relay is behind another.
func TestManyInOneProcess(t *testing.T) {
	defer leak.None(t)
	ca, cert, key := certificates(t, "north")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	roles, ctx := errgroup.WithContext(ctx)
	start := func(run func(serve.Options) error) serve.Addrs {
		ready := make(chan serve.Addrs, 1)
		roles.Go(func() error {
			return run(serve.Options{Log: slog.New(slog.DiscardHandler), Ready: func(a serve.Addrs) { ready <- a }})
		})
		select {
		case a := <-ready:
			return a
		case <-ctx.Done():
			t.Fatal(roles.Wait())
		case <-time.After(patience):
			t.Fatal("a role does not get ready")
		}
		return serve.Addrs{}
	}
	startServer := func(cfg configs.Server) serve.Addrs {
		return start(func(o serve.Options) error { return server.Run(ctx, cfg, o) })
	}
	startRelay := func(cfg configs.Relay) serve.Addrs {
		return start(func(o serve.Options) error { return Run(ctx, cfg, o) })
	}

	one, two := configs.DefaultServer(), configs.DefaultServer()
	ground(t, &one.Node, configs.Peer{Name: "north", CertName: "north"}, configs.Peer{Name: "both", Token: "b1", Custody: "relay"})
	one.TLS = configs.TLS{CertFile: cert, KeyFile: key, ClientCAFile: ca}
	ground(t, &two.Node, configs.Peer{Name: "both", Token: "b2"})
	first, second := startServer(one), startServer(two)

	north, both, far := configs.DefaultRelay(), configs.DefaultRelay(), configs.DefaultRelay()
	ground(t, &north.Node, configs.Peer{Name: "far", Token: "f"})
	north.Name = "north"
	north.Upstreams = []configs.Upstream{{Name: "one", URL: first.URL, CAFile: ca, CertFile: cert, KeyFile: key}}
	northAt := startRelay(north)
	ground(t, &both.Node)
	both.Name = "both"
	both.Upstreams = []configs.Upstream{
		{Name: "two", URL: second.URL, Token: "b2"},
		{Name: "one", URL: first.URL, Token: "b1", CAFile: ca, Mode: "poll", Wait: time.Second},
	}
	bothAt := startRelay(both)
	ground(t, &far.Node)
	far.Name = "far"
	far.Upstreams = []configs.Upstream{{Name: "north", URL: northAt.URL, Token: "f"}}
	farAt := startRelay(far)

	roots, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	trust := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	apps := &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
	defer apps.CloseIdleConnections()

	for name, c := range map[string]struct{ at, above string }{
		"at the server itself":      {first.URL, first.URL},
		"behind a relay":            {bothAt.URL, second.URL},
		"behind a relay of a relay": {farAt.URL, first.URL},
	} {
		endpoint, seen := device(t, ctx, roles, c.at, trust)
		if !strings.HasPrefix(endpoint, c.above+"/v1/e/") {
			t.Errorf("%s: endpoint %s is not at %s", name, endpoint, c.above)
		}
		answer := putTo(t, apps, endpoint, "version=41")
		if !strings.Contains(answer, `"version":41`) {
			t.Errorf("%s: PUT answers %s", name, answer)
		}
		select {
		case v := <-seen:
			if v != 41 {
				t.Errorf("%s: version %d arrives", name, v)
			}
		case <-time.After(patience):
			t.Fatalf("%s: nothing arrives", name)
		}
	}
	cancel()
	if err := roles.Wait(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// device runs a device until ctx ends and returns its app's endpoint.
func device(t *testing.T, ctx context.Context, g *errgroup.Group, url string, trust *tls.Config) (string, <-chan edition.Version) {
	t.Helper()
	d, err := client.OpenDevice(client.DeviceConfig{
		Config: client.Config{URL: url, TLS: trust, RetryMax: 100 * time.Millisecond},
		State:  filepath.Join(t.TempDir(), "device.json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	endpoints, seen := make(chan string, 1), make(chan edition.Version, 10)
	err = d.Register(client.App{
		Name:       "app",
		OnEndpoint: func(e string) { endpoints <- e },
		OnVersion:  func(v edition.Version) { seen <- v },
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Go(func() error { return d.Run(ctx) })
	select {
	case e := <-endpoints:
		return e, seen
	case <-time.After(patience):
		t.Fatalf("no endpoint from %s: %+v", url, d.Connection())
	}
	return "", nil
}

func putTo(t *testing.T, c *http.Client, endpoint, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
