//go:build unix

package exec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/exec"
	"github.com/edition-push/edition/kickdrivers/kicktest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// wait bounds what must happen, on the slowest machine.
const wait = 30 * time.Second

// script returns a configuration that has the shell run a text.
func script(text string, args ...string) exec.Config {
	c := exec.DefaultConfig()
	c.Program = "/bin/sh"
	c.Args = append([]string{"-c", text, "kick"}, args...)
	c.Timeout = wait
	return c
}

func open(t *testing.T, c exec.Config, env driver.Env) *exec.Driver {
	t.Helper()
	d, err := exec.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func kickOne(t *testing.T, d *exec.Driver, to, confirm string) error {
	t.Helper()
	target, err := d.Check(fmt.Appendf(nil, `{"to":%q}`, to), netip.Addr{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 1)
	d.Kick(t.Context(), []driver.Kick{{Target: target, Confirm: confirm}}, errs)
	return errs[0]
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSuite(t *testing.T) {
	kicktest.Run(t, func(t *testing.T) kicktest.Subject {
		dir := t.TempDir()
		out, token := filepath.Join(dir, "out"), filepath.Join(dir, "token")
		if err := os.WriteFile(token, []byte("h1dden"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := script(`read -r line; case "$line" in
			*stuck*) exec sleep 600;;
			*exit*) code=${line#*exit}; exit "${code%%-*}";;
			esac; echo "$line" >> "$1"`, out)
		c.Env = []exec.Variable{{Name: "TOKEN", Secret: driver.Secret{File: token}}}
		d := open(t, c, driver.Env{})
		sent := func() string {
			b, _ := os.ReadFile(out) // not there before the first kick
			return string(b)
		}
		return kicktest.Subject{
			Driver: d,
			Good:   func(i int) json.RawMessage { return fmt.Appendf(nil, `{"to":"lamp-%d"}`, i) },
			Malformed: []json.RawMessage{
				[]byte(`{"to":""}`),
				[]byte(`{"to":7}`),
				[]byte(`{"to":"` + strings.Repeat("x", 257) + `"}`),
			},
			Forbidden: []json.RawMessage{
				[]byte(`{"to":"-rf"}`),
				[]byte(`{"to":"two\nlines"}`),
				[]byte(`{"to":"$(id)"}`),
				[]byte(`{"to":"../x"}`),
			},
			Arrived: func() int { return strings.Count(sent(), "\n") },
			Sent:    sent,
			Secrets: []string{"h1dden"},
			Outcomes: []kicktest.Outcome{
				{Name: "65", Target: []byte(`{"to":"exit65-"}`), Want: edition.ErrForbidden},
				{Name: "67", Target: []byte(`{"to":"exit67-"}`), Want: edition.ErrGone},
				{Name: "69", Target: []byte(`{"to":"exit69-"}`), Want: edition.ErrUnavailable},
				{Name: "75", Target: []byte(`{"to":"exit75-"}`), Want: edition.ErrTooMany},
				{Name: "77", Target: []byte(`{"to":"exit77-"}`), Want: edition.ErrForbidden},
				{Name: "1", Target: []byte(`{"to":"exit1-"}`), Want: kicktest.AnError},
			},
			Stuck: []byte(`{"to":"stuck"}`),
		}
	})
}

func TestProgramReadsTheKick(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	d := open(t, script(`cat > "$1"`, out), driver.Env{})
	if err := kickOne(t, d, "lamp-7", ""); err != nil {
		t.Fatal(err)
	}
	if got := read(t, out); got != `{"to":"lamp-7"}`+"\n" {
		t.Errorf("standard input was %q", got)
	}
	if err := kickOne(t, d, "lamp-7", "AB12CD34"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, out); got != `{"to":"lamp-7","confirm":"AB12CD34"}`+"\n" {
		t.Errorf("standard input was %q", got)
	}
}

// TestNoShell sends what a shell would act upon, in a target and in an
// argument: both arrive as they are.
func TestNoShell(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	evil := "$(touch " + dir + "/evil);`touch " + dir + "/evil`"
	c := script(`cat > "$1"; printf %s "$2" >> "$1"`, out, evil)
	c.Allow = `.*`
	d := open(t, c, driver.Env{})
	if err := kickOne(t, d, evil, ""); err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(map[string]string{"to": evil})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, out); got != string(want)+"\n"+evil {
		t.Errorf("the program got %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "evil")); err == nil {
		t.Error("a shell has read what the device wrote")
	}
}

func TestEnvironmentIsWhatIsConfigured(t *testing.T) {
	t.Setenv("EDITION_TEST_INHERITED", "not for the program")
	dir := t.TempDir()
	out, secret := filepath.Join(dir, "out"), filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := script(`/usr/bin/env > "$1"; pwd >> "$1"`, out)
	c.Dir = dir
	c.Env = []exec.Variable{{Name: "COLOUR", Value: "green"}, {Name: "TOKEN", Secret: driver.Secret{File: secret}}}
	d := open(t, c, driver.Env{})
	if err := kickOne(t, d, "x", ""); err != nil {
		t.Fatal(err)
	}
	got := read(t, out)
	for _, want := range []string{"COLOUR=green\n", "TOKEN=s3cret\n", "PATH=/usr/local/bin:/usr/bin:/bin\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the environment lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "INHERITED") || strings.Contains(got, "HOME=") {
		t.Errorf("the environment has more than was configured:\n%s", got)
	}
	if real, err := filepath.EvalSymlinks(dir); err != nil || !strings.HasSuffix(got, real+"\n") && !strings.HasSuffix(got, dir+"\n") {
		t.Errorf("it ran in another folder than %s:\n%s", dir, got)
	}
	shown, err := d.Show(driver.Kick{Target: []byte(`{"to":"x"}`)})
	if err != nil || strings.Contains(shown, "s3cret") || !strings.Contains(shown, "TOKEN") || !strings.Contains(shown, `{"to":"x"}`) {
		t.Errorf("Show: %q, %v", shown, err)
	}
}

func TestExitCodes(t *testing.T) {
	kinds := []error{edition.ErrGone, edition.ErrForbidden, edition.ErrTooMany, edition.ErrUnavailable}
	for code, want := range map[int]error{
		0: nil, 1: errors.New("any"), 65: edition.ErrForbidden, 67: edition.ErrGone,
		69: edition.ErrUnavailable, 75: edition.ErrTooMany, 77: edition.ErrForbidden, 255: errors.New("any"),
	} {
		d := open(t, script(`exit "$1"`, strconv.Itoa(code)), driver.Env{})
		err := kickOne(t, d, "x", "")
		if (err == nil) != (want == nil) {
			t.Errorf("exit code %d: %v", code, err)
		}
		for _, kind := range kinds {
			if errors.Is(err, kind) != errors.Is(want, kind) {
				t.Errorf("exit code %d: %v, want %v", code, err, want)
			}
		}
	}
	err := kickOne(t, open(t, script(`kill -9 $$`), driver.Env{}), "x", "")
	if err == nil || errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a program that was killed: %v", err)
	}
}

// TestProgramVanishes removes the program while the driver is in use.
func TestProgramVanishes(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.DefaultConfig()
	c.Program = program
	d := open(t, c, driver.Env{})
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if err := kickOne(t, d, "x", ""); !errors.Is(err, edition.ErrUnavailable) || strings.Contains(err.Error(), program) {
		t.Errorf("without its program: %v", err)
	}
}

// TestTimeoutKillsTheGroup has a program start another that ignores signals,
// and wait for it. One that is killed before it has said whom it started tells
// nothing: another gets more time, and a file of its own.
func TestTimeoutKillsTheGroup(t *testing.T) {
	dir := t.TempDir()
	for timeout := 200 * time.Millisecond; timeout < 2*wait; timeout *= 2 {
		pids := filepath.Join(dir, timeout.String())
		c := script(`trap "" TERM INT HUP; (trap "" TERM INT HUP; sleep 600) & echo $! > "$1"; wait`, pids)
		c.Timeout = timeout
		err := kickOne(t, open(t, c, driver.Env{}), "x", "")
		if err == nil || errors.Is(err, edition.ErrUnavailable) {
			t.Fatalf("after %v: %v", timeout, err)
		}
		if b, no := os.ReadFile(pids); no != nil || !bytes.HasSuffix(b, []byte("\n")) {
			continue
		}
		if want := fmt.Sprintf("killed after %v", timeout); !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		gone(t, pids)
		return
	}
	t.Fatal("the program does not run")
}

// gone waits for the processes to end whose numbers are in a file.
func gone(t *testing.T, file string) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for line := range strings.FieldsSeq(read(t, file)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		for running(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d, which the program has started, still runs", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// running reports whether a process runs; one that has ended and that its new
// parent has not looked at yet does not.
func running(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // no such file system
	}
	_, state, _ := bytes.Cut(b, []byte(") "))
	return !bytes.HasPrefix(state, []byte("Z"))
}

func TestContextKillsTheGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	d := open(t, script(`sleep 600 & echo $! >> "$1"; wait`, pids), driver.Env{})
	ctx, cancel := context.WithCancelCause(t.Context())
	errs := make([]error, 3)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k := driver.Kick{Target: []byte(`{"to":"x"}`)}
		d.Kick(ctx, []driver.Kick{k, k, k}, errs)
	}()
	for deadline := time.Now().Add(wait); ; time.Sleep(time.Millisecond) {
		// All three run, so that the file is complete before one is killed.
		if b, err := os.ReadFile(pids); err == nil && bytes.Count(b, []byte("\n")) == len(errs) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the programs do not run")
		}
	}
	why := errors.New("closing")
	cancel(why)
	<-ended
	for i, err := range errs {
		if !errors.Is(err, why) {
			t.Errorf("kick %d: %v", i, err)
		}
	}
	gone(t, pids)
}

func TestBoundedConcurrency(t *testing.T) {
	dir := t.TempDir()
	c := script(`f=$(mktemp "$1/run.XXXXXX"); ls "$1" | grep -c run >> "$1/counts"; sleep 0.02; rm "$f"`, dir)
	c.Processes = 3
	d := open(t, c, driver.Env{})
	var kicks []driver.Kick
	for i := range 20 {
		kicks = append(kicks, driver.Kick{Target: fmt.Appendf(nil, `{"to":"lamp%d"}`, i)})
	}
	errs := make([]error, len(kicks))
	d.Kick(t.Context(), kicks, errs)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	counts := strings.Fields(read(t, filepath.Join(dir, "counts")))
	if len(counts) != len(kicks) {
		t.Errorf("%d runs of %d", len(counts), len(kicks))
	}
	for _, n := range counts {
		if n > "3" || len(n) > 1 {
			t.Errorf("%s ran at once, want at most 3", n)
		}
	}
}

// TestOutputIsBounded has a program write much more than is kept, and leave a
// child behind that holds its standard error open.
func TestOutputIsBounded(t *testing.T) {
	var out bytes.Buffer
	pids := filepath.Join(t.TempDir(), "pids")
	env := driver.Env{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	d := open(t, script(`i=0; while [ $i -lt 3000 ]; do echo "some words that nobody needs"; i=$((i+1)); done | tee /dev/stderr
		printf 'the last\033[31m line\n\n' >&2; sleep 600 & echo $! > "$1"`, pids), env)
	// What is not read soon after the program's end is lost: on a machine that
	// stands still just then, the last line may be another.
	for tries := 5; tries > 0 && !strings.Contains(out.String(), `line="the last[31m line"`); tries-- {
		out.Reset()
		if err := kickOne(t, d, "x", ""); err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(read(t, pids)))
		if err != nil {
			t.Fatal(err)
		}
		if !running(pid) {
			t.Error("what the program has left behind in time was killed")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	if got := out.String(); !strings.Contains(got, `line="the last[31m line"`) || len(got) > 600 {
		t.Errorf("log %.1000q", got)
	}
}

func TestProgramThatDoesNotRead(t *testing.T) {
	if err := kickOne(t, open(t, script(`exec 0<&-; exit 0`), driver.Env{}), "x", ""); err != nil {
		t.Errorf("a program that does not read its standard input: %v", err)
	}
}

func TestAllowIsCheckedAgain(t *testing.T) {
	c := script("exit 0")
	c.Allow = `a|b`
	d := open(t, c, driver.Env{})
	for to, want := range map[string]error{"a": nil, "b": nil, "ab": edition.ErrForbidden, "a\n": edition.ErrForbidden} {
		raw, err := json.Marshal(map[string]string{"to": to})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Check(raw, netip.Addr{}, 100); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("Check(%s): %v, want %v", raw, err, want)
		}
		errs := make([]error, 1)
		d.Kick(t.Context(), []driver.Kick{{Target: raw}}, errs)
		if err := errs[0]; !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("Kick(%s): %v, want %v", raw, err, want)
		}
		if err := errs[0]; err != nil && strings.Contains(err.Error(), "ab") && to == "ab" {
			t.Errorf("the error tells the target: %v", err)
		}
	}
}
