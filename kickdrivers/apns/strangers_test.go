package apns_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
)

// Frames of HTTP/2 (RFC 9113, section 4.1).
const (
	settings  = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	noStreams = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00" // MAX_CONCURRENT_STREAMS 0
	goAway    = settings + "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
)

// TestStrangers connects to ends that speak TLS, but not what Apple speaks.
// Their failures are the provider's, come in time and end.
func TestStrangers(t *testing.T) {
	for _, c := range []struct {
		name, says string
		protocol   string
		hold       bool // the connection stays open
	}{
		{"nothing that both know", "", "spdy/3", true},
		{"no protocol named", "", "", true},
		{"goodbye at once", goAway, "h2", true},
		{"goodbye and gone", goAway, "h2", false},
		{"no streams allowed", noStreams, "h2", true},
		{"noise", "220 hello, what is it to be today?\r\n", "h2", true},
		{"gone at once", "", "h2", false},
		{"silence", settings, "h2", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			certified := httptest.NewUnstartedServer(nil) // for its certificate
			certified.StartTLS()
			defer certified.Close()
			conf := &tls.Config{Certificates: certified.TLS.Certificates}
			if c.protocol != "" {
				conf.NextProtos = []string{c.protocol}
			}
			s := &stranger{says: c.says, hold: c.hold}
			addr := s.listen(t, conf)

			p := start(t, apnssim.Options{}) // for its key
			config := p.config()
			config.Host = "https://" + addr
			config.TLS.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw})
			if err := os.WriteFile(config.TLS.CAFile, ca, 0o600); err != nil {
				t.Fatal(err)
			}
			config.Timeout = 300 * time.Millisecond
			d := open(t, config)
			requests := 0
			// The time may be over before there is a connection: then again.
			for begun := time.Now(); s.connections.Load() == 0 && time.Since(begun) < wait; requests += 3 * 20 {
				for _, err := range kick(t, d, devices(20)...) {
					if !isOnly(err, edition.ErrUnavailable) {
						t.Fatalf("%v, want %v", err, edition.ErrUnavailable)
					}
				}
			}
			// At worst one for each request.
			if n := int(s.connections.Load()); n == 0 || n > requests {
				t.Errorf("%d connections for at most %d requests", n, requests)
			}
		})
	}
}

// TestHTTP1 is not good enough, though net/http would make do with it.
func TestHTTP1(t *testing.T) {
	var requests atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	p := start(t, apnssim.Options{})
	c := p.config()
	c.Host = s.URL
	c.TLS.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(c.TLS.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := kick(t, open(t, c), device(1))[0]; !isOnly(err, edition.ErrUnavailable) || requests.Load() > 0 {
		t.Errorf("%v, %d requests", err, requests.Load())
	}
}

// stranger greets everybody with the same bytes and listens to nothing.
type stranger struct {
	says        string
	hold        bool
	connections atomic.Int32
}

// listen serves until the test's end.
func (s *stranger) listen(t *testing.T, conf *tls.Config) (addr string) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			wg.Go(func() { s.greet(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func (s *stranger) greet(c net.Conn) {
	defer c.Close()
	io.WriteString(c, s.says)
	if s.hold {
		io.Copy(io.Discard, c)
	}
}
