// Command edition is the whole product in one binary: the two roles, a demo
// of both, and what speaks to them from a terminal.
//
// It promises that an error says what to do and that each kind of failure has
// its own exit code. What the commands do is done elsewhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench"
	"github.com/edition-push/edition/cmd/demo"
	"github.com/edition-push/edition/cmd/kicks"
	"github.com/edition-push/edition/cmd/relay"
	"github.com/edition-push/edition/cmd/server"
	"github.com/edition-push/edition/cmd/sim"
)

func main() { os.Exit(run()) }

// exits is the one table of errors and exit codes (docs/protocol.md); those of
// sysexits.h. The first match wins; an error may bring a code of its own (those
// of `edition kicks test`); any other error is 1.
var exits = []struct {
	err  error
	code int
}{
	{edition.ErrUsage, 64},
	{edition.ErrDamaged, 65},
	{edition.ErrListen, 71},
	{edition.ErrDisk, 74},
	{edition.ErrLocked, 75},
	{edition.ErrConfig, 78},
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	for _, e := range exits {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	if own, ok := errors.AsType[interface {
		error
		Exits() int
	}](err); ok {
		return own.Exits()
	}
	return 1
}

// run runs the command line of this process and returns its exit code.
func run() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals) // before anybody sees the first: a second one ends the process at once
		cancel(fmt.Errorf("%v signal received", s))
	}()

	root := newRoot()
	running := false
	root.PersistentPreRun = func(*cobra.Command, []string) { running = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !running { // cobra did not get past the command line
		err = fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "edition:", err)
		if errors.Is(err, edition.ErrUsage) {
			fmt.Fprintf(os.Stderr, "See: %s --help\n", cmd.CommandPath())
		}
	}
	return exitCode(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "edition",
		Short: "Push signalling: the latest version, to devices anywhere, durably",
		Long: `Edition tells devices that something is new. An app server PUTs a version to an
endpoint; the device that the endpoint belongs to gets the latest version it
has not acknowledged, directly or through any number of relays.

In three terminals:
  edition server
  edition listen --url http://127.0.0.1:8080
  edition put ENDPOINT 1            (the ENDPOINT that listen printed)

Exit codes: 0 after a clean stop, 64 usage, 65 a data file that is damaged,
71 an address that cannot be listened on, 74 the disk failed, 75 the data file
is in use, 78 configuration, 1 anything else.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
	}
	root.SetVersionTemplate("edition {{.Version}}\n")
	root.AddCommand(server.Command(), relay.Command(), demo.Command(), bench.Command(), registerCommand(), listenCommand(), putCommand(), kicks.Command(), sim.Command(), configCommand(), versionCommand())
	return root
}
