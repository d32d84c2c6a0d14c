//go:build unix

package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// TestFileLimit fills a file up to a real limit, in a process of its own, and
// has it lifted.
func TestFileLimit(t *testing.T) {
	if path := os.Getenv("EDITION_TEST_LIMIT"); path != "" {
		if err := underLimit(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFileLimit$")
	child.Env = append(os.Environ(), "EDITION_TEST_LIMIT="+filepath.Join(t.TempDir(), "edition.db"))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func underLimit(path string) error {
	signal.Ignore(syscall.SIGXFSZ) // a write over the limit is EFBIG then
	s, err := Open(Options{Path: path})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: uint64(info.Size() + 1<<20), Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	target := make([]byte, 60_000)
	kept := 0
	for ; kept < 1000; kept++ {
		routes := edition.Routes{{Driver: "d", Target: target}}
		if err = s.Register(ctx, edition.Registration{Key: benchKey(kept), Routes: routes}); err != nil {
			break
		}
	}
	if !errors.Is(err, edition.ErrUnavailable) || kept == 0 {
		return fmt.Errorf("after %d registrations: %w", kept, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	for s.Err() != nil {
		if ctx.Err() != nil {
			return errors.New("it does not recover")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.Register(ctx, edition.Registration{Key: benchKey(5000)}); err != nil {
		return err
	}
	cancel()
	if err := <-done; err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = Open(Options{Path: path}); err != nil {
		return err
	}
	for i := range kept {
		if _, err := s.State(benchKey(i)); err != nil {
			return fmt.Errorf("registration %d: %w", i, err)
		}
	}
	return s.Close()
}
