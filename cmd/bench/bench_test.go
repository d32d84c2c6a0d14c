package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
)

// TestMain lets the test binary be its own children, as the edition binary is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		if err := root().ExecuteContext(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			if errors.Is(err, edition.ErrListen) {
				os.Exit(listenCode)
			}
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func root() *cobra.Command {
	c := &cobra.Command{Use: "edition", SilenceUsage: true, SilenceErrors: true}
	c.AddCommand(Command())
	return c
}

// tiny measures nothing of use, in a few seconds.
var tiny = sizes{
	Devices: 20, Publishers: 4, Connects: 2, Rounds: 2,
	Settle: 10 * time.Millisecond, Rest: 10 * time.Millisecond, Warm: 50 * time.Millisecond, Closed: 200 * time.Millisecond, Rate: 200, Open: 200 * time.Millisecond,
	Pending: []int{500, 2000}, StoredRounds: 2, Stored: 200 * time.Millisecond,
	Drain: 3500, DrainRounds: 1,
	Reconnect: [2]int{10, 2500}, ReconnectRounds: 3,
	Kicks: 600, KickRounds: 2, Pushes: 700, PushRounds: 2, Restart: [2]int{1000, 3000},
}

// wanted are the figures that a run with sizes tiny reports. Those with a mark
// have a limit.
var wanted = []string{
	"connected.cpu!", "connected.rate", "connected.p50", "connected.p99", "connected.p99.9",
	"latency.p50", "latency.p99!", "latency.p99.9",
	"idle.memory!", "idle.memory_bare", "idle.memory_collected", "idle.heap", "idle.stacks", "idle.setup!", "idle.cpu",
	"stored.rate_500!", "stored.cpu_500", "stored.rate_2k", "stored.cost_2k!", "stored.start_2k", "stored.time_2k!", "stored.bare_time_2k",
	"drain.rate!", "reconnect.hello!", "kicks.rate!", "kicks.apns!", "kicks.found!", "kicks.spread!", "kicks.heap!",
}

// TestFigures measures everything in a tiny size: that servers start, that no
// event is lost, and that every figure is there. Numbers are not looked at.
func TestFigures(t *testing.T) {
	var said bytes.Buffer
	r := &run{sizes: tiny, dir: t.TempDir(), progress: newProgress(&said), report: newReport(true)}
	if err := r.figures(t.Context(), nil); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	var got []string
	for _, f := range r.report.Figures {
		name := f.Name
		if f.Limit != nil {
			name += "!"
		}
		got = append(got, name)
		if f.Ratio != nil && *f.Ratio <= 0 && !strings.HasPrefix(f.Name, "idle.") { // twenty connections may well need no memory
			t.Errorf("%s: ratio %v", f.Name, *f.Ratio)
		}
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("got the figures %q, want %q", got, wanted)
	}
	if left, err := os.ReadDir(r.dir); err != nil {
		t.Error(err)
	} else {
		for _, e := range left {
			if strings.HasPrefix(e.Name(), "drain") {
				t.Errorf("%s is left behind", e.Name())
			}
		}
	}
	if strings.Contains(said.String(), "failed") {
		t.Errorf("a phase says that it failed:\n%s", said.String())
	}
}

// TestCommand checks the command line: what it refuses, and that --help says
// which figures there are.
func TestCommand(t *testing.T) {
	out := func(args ...string) (string, error) {
		c := root()
		var b bytes.Buffer
		c.SetOut(&b)
		c.SetErr(&b)
		c.SetArgs(append([]string{"bench"}, args...))
		err := c.ExecuteContext(t.Context())
		return b.String(), err
	}
	if _, err := out("nothing"); !errors.Is(err, edition.ErrUsage) {
		t.Errorf("got %v, want a usage error", err)
	}
	help, err := out("--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		for _, f := range s.figures {
			if !strings.Contains(help, "\n  "+f+" ") {
				t.Errorf("--help does not explain %s", f)
			}
		}
	}
	if strings.Contains(help, "child") {
		t.Error("--help shows commands that are not for users")
	}
	if _, err := out("--dir", "/nonexistent", "kicks"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the folder does not exist", err)
	}
}
