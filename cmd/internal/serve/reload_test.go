package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

// writePair puts a fresh certificate for a name into the folder.
func writePair(t *testing.T, dir, name string) {
	t.Helper()
	ca, err := simtls.New("test")
	if err == nil {
		err = ca.WriteFiles(dir, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCertificatesAreExchanged gives new connections the new certificate, and
// leaves the old ones alone.
func TestCertificatesAreExchanged(t *testing.T) {
	dir := t.TempDir()
	c := configs.TLS{CertFile: filepath.Join(dir, simtls.CertFile), KeyFile: filepath.Join(dir, simtls.KeyFile)}
	writePair(t, dir, "first.test")
	s, err := newCerts(c)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := listen(t.Context(), "127.0.0.1:0", "listen")
	if err != nil {
		t.Fatal(err)
	}
	l := s.secure(plain)
	defer l.Close()
	echo := make(chan struct{})
	go func() {
		defer close(echo)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 1)
				for {
					if _, err := conn.Read(b); err != nil {
						return
					}
					if _, err := conn.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	dial := func() (*tls.Conn, string) {
		t.Helper()
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // the test looks at the certificate itself
		conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		secure := conn.(*tls.Conn)
		return secure, secure.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	old, name := dial()
	defer old.Close()
	if name != "first.test" {
		t.Fatalf("certificate of %s", name)
	}
	if use, err := s.reload(c); use != nil || err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	writePair(t, dir, "second.test")
	use, err := s.reload(c)
	if err != nil || use == nil {
		t.Fatalf("changed files: %v", err)
	}
	use()
	fresh, name := dial()
	defer fresh.Close()
	if name != "second.test" {
		t.Errorf("certificate of %s", name)
	}
	if _, err := old.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := old.Read(make([]byte, 1)); err != nil {
		t.Errorf("the old connection: %v", err)
	}

	if err := os.WriteFile(c.KeyFile, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if use, err := s.reload(c); use != nil || !errors.Is(err, edition.ErrConfig) {
		t.Errorf("a key that is none: %v", err)
	}
	if use, err := (*certs)(nil).reload(c); use != nil || err != nil {
		t.Errorf("TLS that was turned on counts after a restart: %v", err)
	}
	last, name := dial()
	defer last.Close()
	if name != "second.test" {
		t.Errorf("certificate of %s", name)
	}
	l.Close()
	<-echo
}

func udpEntry(name, cidr string) map[string]any {
	return map[string]any{"name": name, "driver": "udp", "networks": []any{map[string]any{"cidrs": []any{cidr}}}}
}

func entryNames(d *kickdrivers.Dispatcher) string {
	var names []string
	for _, e := range d.Entries() {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

// TestReloadIsAllOrNothing lets each step fail in turn.
func TestReloadIsAllOrNothing(t *testing.T) {
	n, _, p := newNode(t)
	defer n.closeListeners()
	var log bytes.Buffer
	n.Log = slog.New(slog.NewTextHandler(&log, nil))
	had, err := kickdrivers.Decode(n.cfg.Kicks)
	if err != nil {
		t.Fatal(err)
	}
	before := entryNames(p.Kicks)
	fresh, used := Fresh{Node: n.cfg}, 0
	fresh.Node.Kicks = []map[string]any{udpEntry("udp", "127.0.0.0/9"), udpEntry("more", "127.0.0.0/8")}
	var readErr, partErr error
	n.reload.Read = func() (Fresh, error) { return fresh, readErr }
	p.Reloads = []Reloader{func(Fresh) (Change, error) { return Changed("part", func() { used++ }, partErr) }}

	refused := errors.New("refused")
	steps := map[string]func(){
		"the file":    func() { readErr = refused },
		"a part":      func() { readErr, partErr = nil, refused },
		"the drivers": func() { partErr = nil; fresh.Node.Kicks = []map[string]any{{"driver": "pigeon"}} },
		"a socket": func() {
			e := udpEntry("bound", "10.0.0.0/8")
			e["bind"] = []any{"203.0.113.1"} // nobody's address (RFC 5737)
			fresh.Node.Kicks = []map[string]any{e}
		},
	}
	for _, step := range []string{"the file", "a part", "the drivers", "a socket"} {
		steps[step]()
		if _, err := n.reloadAll(p, had); err == nil {
			t.Errorf("%s is at fault, and nobody says so", step)
		}
		if got := entryNames(p.Kicks); got != before || used != 0 {
			t.Fatalf("%s is at fault, and yet the entries are %s; a part was changed %d times", step, got, used)
		}
	}

	fresh.Node.Kicks = []map[string]any{udpEntry("udp", "127.0.0.0/9"), udpEntry("more", "127.0.0.0/8")}
	fresh.Changed = []string{"kicks", "log.level", "store.ttl"}
	had, err = n.reloadAll(p, had)
	if err != nil || entryNames(p.Kicks) != "udp more" || used != 1 {
		t.Fatalf("%v: entries %s, a part was changed %d times", err, entryNames(p.Kicks), used)
	}
	for _, want := range []string{`changed="part, kicks: udp opened anew, kicks: more added, kicks: log removed"`, "restart\" keys=store.ttl"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
	slower := udpEntry("udp", "127.0.0.0/9")
	slower["rate"] = 1
	fresh.Node.Kicks = []map[string]any{slower}
	if _, err = n.reloadAll(p, had); err != nil || !strings.Contains(log.String(), `changed="part, kicks: udp, kicks: more removed"`) {
		t.Errorf("%v:\n%s", err, log.String())
	}
}

// TestReloadsWhileServing has a served node reload, and stop.
func TestReloadsWhileServing(t *testing.T) {
	defer leak.None(t, goleak.IgnoreCurrent())
	n, _, p := newNode(t)
	n.level = new(slog.LevelVar)
	n.level.Set(slog.LevelInfo)
	when, reloaded := make(chan os.Signal), make(chan struct{}, 10)
	fresh := Fresh{Node: n.cfg}
	fresh.Node.Log.Level = "debug"
	p.Reloads = []Reloader{func(Fresh) (Change, error) {
		return Changed("part", func() { reloaded <- struct{}{} }, nil)
	}}
	n.reload = Reload{When: when, Read: func() (Fresh, error) { return fresh, nil }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx, p) }()
	for range 3 {
		select {
		case when <- syscall.SIGHUP:
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatal("nobody listens")
		}
	}
	<-reloaded
	<-reloaded
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n.level.Level() != slog.LevelDebug {
		t.Errorf("the level is %v", n.level.Level())
	}
}
