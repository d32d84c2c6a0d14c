package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be its own children.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") {
		os.Exit(m.Run())
	}
	err := Serve(context.Background(), func(ctx context.Context, c *Control) error {
		switch os.Args[1] {
		case "fail":
			return errors.New("no luck")
		case "env":
			fmt.Println("said on standard output")
			c.Announce(os.Getenv("CHILD_TEST"), nil)
		default:
			c.Announce("here", func(_ context.Context, arg string) (string, error) {
				if arg == "fail" {
					return "", errors.New("two\nlines")
				}
				return "did " + arg, nil
			})
		}
		<-ctx.Done()
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func start(t *testing.T, env []string, args ...string) *Process {
	t.Helper()
	p, err := Start(t.Context(), "the child", env, args)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestObeys goes through all that a parent may ask.
func TestObeys(t *testing.T) {
	p := start(t, nil, "obey")
	if addr, err := p.Address(); err != nil || addr != "here" {
		t.Errorf("Address: %q, %v", addr, err)
	}
	if answer, err := p.Do("this and that"); err != nil || answer != "did this and that" {
		t.Errorf("Do: %q, %v", answer, err)
	}
	if _, err := p.Do("fail"); err == nil || !strings.Contains(err.Error(), "two lines") {
		t.Errorf("Do: %v, want the child's error on one line", err)
	}
	if err := p.Settle(); err != nil {
		t.Error(err)
	}
	u, err := p.Usage()
	if err != nil || u.CPU <= 0 || u.Goroutines < 2 {
		t.Errorf("Usage: %+v, %v", u, err)
	}
	if _, err := os.Stat("/proc/self/smaps_rollup"); err == nil && u.RSS < 1<<20 {
		t.Errorf("Usage: %d resident bytes", u.RSS)
	}
	file := filepath.Join(t.TempDir(), "cpu")
	if err := errors.Join(p.Profile(file), p.StopProfile()); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(file); err != nil || st.Size() == 0 {
		t.Errorf("Profile: %v, %v", st, err)
	}
	if err := p.Profile(filepath.Join(file, "nowhere")); err == nil {
		t.Error("Profile: no error for a file that cannot be")
	}
	cpu, err := p.Stop()
	if err != nil || cpu < u.CPU {
		t.Errorf("Stop: %v, %v, want at least %v", cpu, err, u.CPU)
	}
	if _, err := p.Usage(); err == nil {
		t.Error("Usage: an answer from a child that has stopped")
	}
}

func TestEnvironment(t *testing.T) {
	p := start(t, []string{"CHILD_TEST=given"}, "env")
	if addr, err := p.Address(); err != nil || addr != "given" {
		t.Errorf("Address: %q, %v", addr, err)
	}
	if _, err := p.Do("anything"); err == nil {
		t.Error("Do: no error from a child that can do nothing")
	}
	if _, err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// TestEarlyEnd checks that a child's last words are in the error.
func TestEarlyEnd(t *testing.T) {
	p := start(t, nil, "fail")
	if _, err := p.Address(); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("Address: %v, want the child's last words", err)
	}
	select {
	case <-p.Exited():
	case <-time.After(time.Minute):
		t.Fatal("it has not ended")
	}
	if _, err := p.Stop(); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("Stop: %v", err)
	}
}

// TestOrphan checks that a child ends when its parent's end of the pipe goes.
func TestOrphan(t *testing.T) {
	p := start(t, nil, "obey")
	if _, err := p.Address(); err != nil {
		t.Fatal(err)
	}
	p.stdin.Close()
	select {
	case <-p.Exited():
	case <-time.After(time.Minute):
		t.Error("it lives on")
	}
	p.Stop()
}

func TestTail(t *testing.T) {
	var out tail
	for i := range 1000 {
		fmt.Fprintf(&out, "line %d\n", i)
	}
	if got := out.String(); len(got) > 3*tailSize || !strings.HasSuffix(got, "line 999") {
		t.Errorf("got %d bytes that end in %q", len(got), got[len(got)-20:])
	}
}
