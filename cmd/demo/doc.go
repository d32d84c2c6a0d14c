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

	"github.com/edition-push/edition/internal/firefox"
)

// Bounds of the story, which is all of `edition demo --once`, and else comes
// before the demo waits for the reader.
const (
	storyTimeout   = 3 * time.Minute
	firefoxTimeout = 10 * time.Minute // with a browser, which is slow to start
)

// Options say what the demo shows.
type Options struct {
	Once    bool // end after the story
	Firefox bool // with the Firefox that is installed as a fourth device
}

// Command is `edition demo`.
func Command() *cobra.Command {
	var o Options
	var kicks bool
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

With --firefox the Firefox that is installed is a fourth device, unmodified,
without a window and with a profile of its own that is thrown away: a page in it
subscribes through the far relay, and gets a push, an encrypted message, and one
that was sent while the browser was closed.

With --kicks it shows the kick drivers instead, and ends: one sleeping device
for each is woken through a relay, against simulators of Apple's, Google's and
the browsers' push services, of an SMSC, a broker and a carrier's platform.`,
		Example: `  edition demo
  edition demo --firefox
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
			return Run(cmd.Context(), dir, o, newTranscript(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().BoolVar(&o.Once, "once", false, "end after the story instead of waiting for Ctrl-C")
	cmd.Flags().BoolVar(&o.Firefox, "firefox", false, "show Firefox as a device too")
	cmd.Flags().BoolVar(&kicks, "kicks", false, "show one sleeping device for each kick driver, woken end to end")
	cmd.AddCommand(hookCommand())
	cmd.MarkFlagsMutuallyExclusive("kicks", "firefox")
	return cmd
}

// Run plays the demo in a folder. With Once it returns nil when every device
// got its versions and everything has stopped again; else it waits for ctx to
// end after the story.
func Run(ctx context.Context, dir string, o Options, out *transcript) (err error) {
	timeout := storyTimeout
	if o.Firefox {
		if _, err := firefox.Find(); err != nil {
			return fmt.Errorf("%w (Debian: apt-get install firefox-esr)", err)
		}
		timeout = firefoxTimeout
	}
	out.text("Edition demo: a server, relay \"near\" behind it, relay \"far\" behind near, and three devices.")
	out.text("All of it is on loopback, with its data in %s. Times are in seconds.\n", dir)

	story, cancel := context.WithTimeoutCause(ctx, timeout, errTooSlow)
	defer cancel()
	s, err := openStage(story, dir, out)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.play(story); err != nil {
		return stopped(ctx, err)
	}
	if o.Firefox {
		b, err := s.browse(story)
		if err != nil {
			return stopped(ctx, err)
		}
		defer func() { err = errors.Join(err, b.close()) }()
	}
	if o.Once {
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

var errTooSlow = errors.New("the demo did not come to its end in time")

// stopped turns Ctrl-C during the story into a clean end.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
