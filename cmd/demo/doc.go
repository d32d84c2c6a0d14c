// Package demo is `edition demo`: the whole product in one process, on real
// sockets and real files, telling what happens as it happens.
//
// It promises that it uses the roles and the client library as everybody else
// does: nothing is shortened for the show. It keeps nothing when it ends.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// onceTimeout bounds `edition demo --once`, and the story before the demo
// waits for the reader.
const onceTimeout = 30 * time.Second

// Command is `edition demo`.
func Command() *cobra.Command {
	var once, kicks bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole product in one process: a server, two relays, three devices",
		Long: `Starts a server, a relay behind it, a second relay behind the first, and three
devices: one at the server, one at the far relay, and one that sleeps behind
the far relay and is woken by a UDP kick. Versions are sent to them by real
HTTP requests, and every step is printed with the time since the start.

Everything listens on loopback, on free ports, and keeps its data in a
temporary folder. Afterwards the demo stays up, so that you can send the next
version yourself, until Ctrl-C.

With --kicks it shows the kick drivers instead, and ends: one sleeping device
for each is woken through a relay, against simulators of Apple's, Google's and
the browsers' push services, of an SMSC, a broker and a carrier's platform.`,
		Example: `  edition demo
  edition demo --once       # exit 0 when every device got its versions, 1 if not
  edition demo --kicks      # exit 0 when every sleeping device was woken, 1 if not`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "edition-demo-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir) //nolint:errcheck // temporary
			if kicks {
				return RunKicks(cmd.Context(), dir, newTranscript(cmd.OutOrStdout()))
			}
			return Run(cmd.Context(), dir, once, newTranscript(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().BoolVar(&kicks, "kicks", false, "show one sleeping device for each kick driver, woken end to end")
	cmd.AddCommand(hookCommand())
	cmd.Flags().BoolVar(&once, "once", false, "end after the story instead of waiting for Ctrl-C")
	return cmd
}

// Run plays the demo in a folder. With once it returns nil when every device
// got its versions and everything has stopped again; else it waits for ctx to
// end after the story.
func Run(ctx context.Context, dir string, once bool, out *transcript) (err error) {
	out.text("Edition demo: a server, relay \"near\" behind it, relay \"far\" behind near, and three devices.")
	out.text("All of it is on loopback, with its data in %s. Times are in seconds.\n", dir)

	story, cancel := context.WithTimeoutCause(ctx, onceTimeout, errTooSlow)
	defer cancel()
	s, err := openStage(story, dir, out)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.play(story); err != nil {
		return stopped(ctx, err)
	}
	if once {
		out.text("\nEvery device got its versions.")
		return nil
	}
	out.text("\nNow you. Send a version to a device from another terminal (any number greater than the last):\n")
	for _, d := range s.devices {
		out.text("  # %s, %s\n  curl -X PUT -d version=%d %s", d.name, d.where, d.last.Load()+1, d.endpoint)
	}
	out.text("\nWithout -d the server makes the version itself. Ctrl-C ends the demo.\n")
	select {
	case <-ctx.Done():
		out.text("\nStopping.")
		return nil
	case err := <-s.failed:
		return err
	}
}

var errTooSlow = fmt.Errorf("the demo did not come to its end within %v", onceTimeout)

// stopped turns Ctrl-C during the story into a clean end.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
