package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/client"
)

func listenCommand() *cobra.Command {
	var count int
	var once bool
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Be a device: print the endpoint, then every version and message that arrives",
		Long: `Registers an app of this device when it is not registered yet, prints its
endpoint on a line, and then each version that arrives on a line of its own.
Each is acknowledged once it is printed. Versions only rise, across restarts
with the same state file too.

What carries something is a line as well: its version, how many bytes, how they
are encrypted, how urgent they are, how long they are worth keeping, and what is
in them where that can be read, such as

  41 carries 5 bytes, not encrypted, urgency normal, ttl 72h0m0s: hello

That is a version with data, or a message of Web Push, which is encrypted for an
app with keys of its own: this command has none, and shows how it begins. A
message of an earlier run may be printed again when its acknowledgement was lost.

With --udp the device sleeps: it does not stay connected, and looks for
versions when it is woken by a datagram (a kick) at that address, and every 15
minutes. The server or relay must have a udp kick driver for its network.`,
		Example: `  edition listen --url http://127.0.0.1:8080 --state phone.json --app mail
  edition listen --mode poll --wait 0 --interval 5s     # ask every five seconds
  edition listen --udp 127.0.0.1:4000                   # sleep until kicked
  edition listen --once                                 # one version or message, then exit`,
		Args: cobra.NoArgs,
	}
	f := addDeviceFlags(cmd)
	cmd.Flags().StringVar(&f.udp, "udp", "", "sleep, and be woken at this local `address`")
	cmd.Flags().StringVar(&f.kick, "kick", "", "more about how to wake the device, as a `JSON` object: driver, netid, mcc and mnc")
	cmd.Flags().IntVar(&count, "count", 0, "exit after this many versions and messages; 0 goes on")
	cmd.Flags().BoolVar(&once, "once", false, "the same as --count 1")
	cmd.MarkFlagsMutuallyExclusive("count", "once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if once {
			count = 1
		}
		return f.listen(cmd, count)
	}
	return cmd
}

// listen prints until the context ends or count versions and messages are there.
func (f *deviceFlags) listen(cmd *cobra.Command, count int) error {
	d, err := f.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	out := cmd.OutOrStdout()
	seen := 0
	show := func(line string) {
		if count > 0 && seen == count {
			return
		}
		fmt.Fprintln(out, line) //nolint:errcheck // nobody is left to be told
		if seen++; seen == count {
			go func() { // the ack leaves after the app's function has returned
				defer cancel()
				f.settle(ctx, d)
			}()
		}
	}
	err = d.Register(client.App{
		Name: f.app,
		OnEndpoint: func(endpoint string) {
			fmt.Fprintln(out, endpoint)                                                                                                                //nolint:errcheck // nobody is left to be told
			fmt.Fprintf(f.stderr, "Send it a version:\n  curl -X PUT -d version=1 %s\nor a message:\n  edition put %[1]s --message hello\n", endpoint) //nolint:errcheck // the same
		},
		OnVersion: func(v edition.Version) { show(v.String()) },
		OnMessage: func(v edition.Version, b *edition.Body) { show(v.String() + " " + carried(b)) },
	})
	if err != nil {
		return err
	}
	if err := d.Run(ctx); err != nil {
		return fmt.Errorf("no longer listening at %s: %w", f.url, err)
	}
	return nil
}

// settle has upstream know what was seen, before the command ends. If it
// cannot, upstream sends it again next time, and it is not printed twice.
func (f *deviceFlags) settle(ctx context.Context, d *client.Device) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := d.Settle(ctx); err != nil && f.verbose {
		fmt.Fprintln(f.stderr, "not known to be acknowledged:", err) //nolint:errcheck // nobody is left to be told
	}
}

const settleTime = 10 * time.Second
