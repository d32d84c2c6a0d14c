package sim

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edition-push/edition/cmd/internal/peers"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/leak"
)

// safeBuffer is written by a simulator while a test reads it.
type safeBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestGreeting runs every simulator, and wants the configuration that it writes
// to be without a fault.
func TestGreeting(t *testing.T) {
	for _, k := range peers.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			defer leak.None(t, goleak.IgnoreCurrent())
			dir := filepath.Join(t.TempDir(), "files")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, ended := new(safeBuffer), make(chan error, 1)
			r := run{kind: k, dir: dir, listen: "127.0.0.1:0"}
			go func() { ended <- r.run(ctx, out, out) }()
			for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), "edition kick test"); time.Sleep(5 * time.Millisecond) {
				select {
				case err := <-ended:
					t.Fatal(err)
				default:
				}
				if time.Now().After(end) {
					t.Fatalf("it says\n%s", out.String())
				}
			}
			if e, err := configs.LoadKick(filepath.Join(dir, "kicks.yaml"), k.Driver, nil); err != nil || e.Driver != k.Driver {
				t.Errorf("its configuration: %+v, %v", e, err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	ended := 0
	l := newLines(&out, 2, func() { ended++ })
	l.push(peers.Push{To: "a", Text: "first"})
	if out.Len() > 0 {
		t.Errorf("before the greeting: %s", out.String())
	}
	l.open()
	l.push(peers.Push{To: "b", Text: "second"})
	l.push(peers.Push{To: "c", Text: "third"})
	text := out.String()
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, "a  first\n") || !strings.HasSuffix(text, "b  second\n") || ended != 1 {
		t.Errorf("ended %d times, printed\n%s", ended, text)
	}
}
