package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edition-push/edition/internal/firefox"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers"
)

// TestMain lets the test's own binary be the program that driver exec runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "demo" {
		cmd := Command()
		cmd.SetArgs(os.Args[2:])
		if err := cmd.ExecuteContext(context.Background()); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestKicks plays the demo of kick drivers: one device for each is woken.
func TestKicks(t *testing.T) {
	defer leak.None(t, goleak.IgnoreCurrent())
	defer plain.CloseIdleConnections()
	var out bytes.Buffer
	if err := RunKicks(t.Context(), t.TempDir(), newTranscript(&out)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	wakes := regexp.MustCompile(`(?m)^ *(\S+) +(\S+) +[0-9.]+ ms +[0-9.]+ ms +[0-9.]+ ms$`)
	woken := make(map[string]bool)
	for _, m := range wakes.FindAllStringSubmatch(out.String(), -1) {
		woken[m[1]] = true
		for _, want := range []string{m[2] + " +is kicked", m[2] + " +calls its app with version 1", "GET " + m[2] + "'s endpoint: version 1 delivered"} {
			if !regexp.MustCompile(want).MatchString(out.String()) {
				t.Errorf("the transcript lacks %q", want)
			}
		}
	}
	for _, driver := range kickdrivers.Kinds() {
		if !woken[driver] && driver != "log" {
			t.Errorf("driver %s has nobody to wake", driver)
		}
	}
	t.Log("\n" + out.String())
}

// TestKicksFail wants a device that nothing wakes to be an error.
func TestKicksFail(t *testing.T) {
	defer leak.None(t, goleak.IgnoreCurrent())
	defer plain.CloseIdleConnections()
	s, err := openKicks(t.Context(), t.TempDir(), newTranscript(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.apart["webhook"].Close(); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.sleepers, func(sl *sleeper) bool { return sl.driver == "webhook" })
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errKicksSlow)
	defer cancel()
	if err := s.wake(ctx, s.sleepers[i]); err == nil {
		t.Error("its receiver is gone, and nobody says so")
	}
}

// TestOnce plays the whole demo and looks for its steps.
func TestOnce(t *testing.T) {
	defer leak.None(t, goleak.IgnoreCurrent())
	defer plain.CloseIdleConnections()
	var out bytes.Buffer
	if err := Run(t.Context(), t.TempDir(), Options{Once: true}, newTranscript(&out)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"phone   calls its app with version 1",
		"tablet  calls its app with version 1",
		`meter   is woken by a datagram from far: "NOTIFY 127.0.0.1:`,
		"meter   calls its app with version 2",
		"GET meter's endpoint: version 2 delivered",
		"Every device got its versions.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the transcript lacks %q", want)
		}
	}
	t.Log("\n" + out.String())
}

// TestWithoutFirefox: who asks for Firefox and has none is told so at once.
func TestWithoutFirefox(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out bytes.Buffer
	err := Run(t.Context(), t.TempDir(), Options{Once: true, Firefox: true}, newTranscript(&out))
	if !errors.Is(err, firefox.ErrNotInstalled) || out.Len() > 0 {
		t.Errorf("got %v after %q, want ErrNotInstalled", err, out.String())
	}
}
