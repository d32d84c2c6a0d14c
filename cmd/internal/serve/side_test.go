package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/simtls"
	"github.com/edition-push/edition/wire"
)

// serverFiles writes a server's certificate and key, and the authority's own.
func serverFiles(t *testing.T, a *simtls.Authority) configs.TLS {
	t.Helper()
	dir := t.TempDir()
	if err := a.WriteFiles(dir, "hq"); err != nil {
		t.Fatal(err)
	}
	pair, err := a.Server()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c := configs.TLS{CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server-key.pem"), ClientCAFile: filepath.Join(dir, simtls.CAFile)}
	for file, block := range map[string]pem.Block{
		c.CertFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		c.KeyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// node opens a server with both side doors and serves it.
func sideNode(t *testing.T, change func(*configs.Node)) (*Node, context.CancelFunc, <-chan error) {
	t.Helper()
	cfg := configs.DefaultServer().Node
	cfg.Listen, cfg.Admin, cfg.Data, cfg.Drain = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 0
	cfg.Gateway.Listen, cfg.Wakeup.Listen = "127.0.0.1:0", "127.0.0.1:0"
	change(&cfg)
	n, err := Open(t.Context(), configs.RoleServer, cfg, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	core, err := n.Core(nil)
	if err != nil {
		t.Fatal(err)
	}
	side, err := n.Side(core, configs.Rights{})
	if err != nil {
		t.Fatal(err)
	}
	stop, ended := serving(t, n, Parts{Core: core, Side: side, Sessions: n.Sessions(core, nobody{}, nil)})
	return n, stop, ended
}

// TestSideDoors has a caller with a certificate, one with a token and a push
// server of a carrier wake one device, over sockets of all kinds.
func TestSideDoors(t *testing.T) {
	defer leak.None(t)
	authority, err := simtls.New("test")
	if err != nil {
		t.Fatal(err)
	}
	const token = "a-token-that-nobody-guesses"
	n, stop, ended := sideNode(t, func(c *configs.Node) {
		may := configs.Rights{Drivers: []string{"udp"}, Rate: 100, Burst: 100}
		c.Gateway.TLS = serverFiles(t, authority)
		c.Gateway.Callers = []configs.Caller{
			{Name: "hq", CertName: "hq", Rights: may},
			{Name: "desk", Token: token, Rights: may},
		}
		c.Wakeup.Allow, c.Wakeup.Driver = []string{"127.0.0.0/8"}, "udp"
	})
	phone, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	port := phone.LocalAddr().(*net.UDPAddr).Port
	hq, err := authority.Client("hq")
	if err != nil {
		t.Fatal(err)
	}
	other, err := authority.Client("other")
	if err != nil {
		t.Fatal(err)
	}
	kick := fmt.Sprintf(`{"kick":{"driver":"udp","ip":"127.0.0.1","port":%d},"from":"127.0.0.1"}`, port)
	for _, c := range []struct {
		name, url, kind, body, token string
		cert                         []tls.Certificate
		status                       int
	}{
		{"nobody", n.Gateway + wire.PathKicks, "application/json", kick, "", nil, 401},
		{"another certificate", n.Gateway + wire.PathKicks, "application/json", kick, "", []tls.Certificate{other}, 401},
		{"the certificate", n.Gateway + wire.PathKicks, "application/json", kick, "", []tls.Certificate{hq}, 202},
		{"the token", n.Gateway + wire.PathKicks, "application/json", kick, token, nil, 202},
		{"a carrier's push server", n.Wakeup + "/wakeup", "application/x-www-form-urlencoded", fmt.Sprintf("ip=127.0.0.1&port=%d", port), "", nil, 200},
		{"a kick at the devices' door", n.URL + wire.PathKicks, "application/json", kick, token, nil, 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", c.kind)
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: authority.Pool(), Certificates: c.cert, MinVersion: tls.VersionTLS12},
		}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %d %s, %v; want %d", c.name, resp.StatusCode, body, err, c.status)
		}
		if c.status >= 300 {
			continue
		}
		buf := make([]byte, 100)
		phone.SetReadDeadline(time.Now().Add(patience))
		size, _, err := phone.ReadFrom(buf)
		if want := fmt.Sprintf("NOTIFY 127.0.0.1:%d", port); err != nil || string(buf[:size]) != want {
			t.Errorf("%s: the device got %q, %v; want %q", c.name, buf[:size], err, want)
		}
		var s wire.WakeState
		if c.status == 202 && json.Unmarshal(body, &s) == nil {
			if code, text := fetch(t, n.Admin+"/kicks/"+s.ID); code != 200 || !strings.Contains(text, s.ID) {
				t.Errorf("for the operator: %d %s", code, text)
			}
		}
	}
	if code, _ := fetch(t, n.Admin+"/kicks/none"); code != 404 {
		t.Errorf("a kick that nobody asked for: %d", code)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("a stop is no failure: %v", err)
	}
	wantClosed(t, n.gateway)
	wantClosed(t, n.wakeup)
}

// TestSideAddressTaken says which key to change, and leaves nothing open.
func TestSideAddressTaken(t *testing.T) {
	taken, err := listen(t.Context(), "127.0.0.1:0", "listen")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for key, change := range map[string]func(*configs.Node){
		"gateway.listen": func(c *configs.Node) { c.Gateway.Listen = taken.Addr().String() },
		"wakeup.listen":  func(c *configs.Node) { c.Wakeup.Listen = taken.Addr().String() },
	} {
		cfg := configs.DefaultServer().Node
		cfg.Listen, cfg.Admin, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
		change(&cfg)
		_, err := Open(t.Context(), configs.RoleServer, cfg, Options{Log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, edition.ErrListen) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestSlowCaller sends a head a letter at a time: the connection ends, long
// before the head does.
func TestSlowCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		l := &oneConn{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conns <- there
		s := sideHTTP(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		go io.Copy(io.Discard, here)
		start := time.Now()
		for i := range 1000 {
			if _, err := here.Write([]byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 100))[i%10 : i%10+1]); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > readHeaderTimeout+5*time.Second {
			t.Errorf("a caller without a request held its connection for %v", took)
		}
		here.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
}

// oneConn is a listener with the connections that are put into it.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
