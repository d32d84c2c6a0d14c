package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/edition-push/edition"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"edition": main})
}

// TestScripts runs testdata/script: the binary as a user sees it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(5 * patience),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":    waitReady,
			"linewith": waitLine,
			"exits":    wantExit,
			"until":    waitExit,
			"join":     join,
			"occupy":   occupy,
			"get":      get,
			"state":    waitState,
			"upstream": waitUpstream,
			"mode":     wantMode,
			"start":    start,
			"signal":   signalTo,
			"ended":    ended,
		},
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"} {
				e.Setenv(name, "")
			}
			// The race detector waits a second at the end of each process.
			e.Setenv("GORACE", "atexit_sleep_ms=20")
			e.Values[running] = make(map[string]*exec.Cmd)
			return nil
		},
	})
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{edition.ErrUsage, 64},
		{edition.ErrDamaged, 65},
		{edition.ErrListen, 71},
		{edition.ErrDisk, 74},
		{edition.ErrLocked, 75},
		{edition.ErrConfig, 78},
		{edition.ErrUnavailable, 1},
		{os.ErrNotExist, 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := exitCode(fmt.Errorf("around: %w", errors.Join(os.ErrClosed, c.err))); got != c.want {
			t.Errorf("%v, wrapped: %d, want %d", c.err, got, c.want)
		}
	}
}
