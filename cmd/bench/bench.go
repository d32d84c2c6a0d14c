// Package bench is the command `edition bench`: it measures the product on
// loopback, each figure beside a bare reference in the same run, and says
// whether the ratio keeps its limit.
//
// It promises that the servers run as processes of their own, with the roles'
// real commands, that the same load generator drives both sides, that every
// answer is checked, and that a figure whose events were lost is an error and
// not a number. It does not compare machines: only ratios travel.
package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
)

const long = `Measure throughput, latency, memory and storage on loopback.

Each figure is measured beside a reference in the same run: a bare net/http
handler with gorilla/websocket, a bare bbolt writer, a bare loop that sends
datagrams in batches, a bare HTTP/2 client. Rounds of the two alternate, and the median of their ratios counts,
so that a busy or slow machine changes a figure less than its ratio.

  connected   server CPU for PUT → UPDATE → ACK, with 10,000 devices connected
  latency     PUT → device at 4,000 PUT/s, sent whether or not answers came
  idle        memory, set-up time and CPU of idle connections
  stored      synced PUTs to absent devices, with up to 5 million pending keys
  drain       a relay takes 1 million pending events from its upstream
  reconnect   a relay with 1 million devices connects: time to its first UPDATE
  kicks       wake-ups a second by UDP and APNs; a restart with 1 million due

A full run takes about 15 minutes and 8 GB in the folder for temporary files
(--dir); it needs 12,000 open files (ulimit -n).`

const examples = `  edition bench --quick           all figures, in under two minutes
  edition bench stored drain      these two, in full
  edition bench --json >out.json  for a machine; progress goes to stderr`

// Command returns `edition bench`.
func Command() *cobra.Command {
	var o struct {
		quick, json, check bool
		dir, profiles      string
	}
	var names []string
	for _, s := range scenarios {
		names = append(names, s.figures...)
	}
	c := &cobra.Command{
		Use:       "bench [FIGURE…]",
		Short:     "Measure this machine: every figure beside a bare reference",
		Long:      long,
		Example:   examples,
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			for _, a := range args {
				if !slices.Contains(names, a) {
					return fmt.Errorf("%w: there is no figure %q; there are %s", edition.ErrUsage, a, strings.Join(names, ", "))
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := os.MkdirTemp(o.dir, "edition-bench-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir) //nolint:errcheck // temporary
			r := &run{sizes: full, dir: dir, profiles: o.profiles, report: newReport(o.quick), progress: newProgress(cmd.ErrOrStderr())}
			if o.quick {
				r.sizes = quick
			}
			r.report.Note, err = checkRoom(dir, r.sizes, len(args) == 0 || slices.Contains(args, "stored"))
			if err != nil {
				return err
			}
			err = r.figures(cmd.Context(), args)
			r.progress.wait()
			r.report.Took = time.Since(r.report.Started)
			print := r.report.writeTable
			if o.json {
				print = r.report.writeJSON
			}
			if printed := print(cmd.OutOrStdout()); err == nil {
				err = printed
			}
			if missed := r.report.missed(); err == nil && o.check && len(missed) > 0 {
				err = fmt.Errorf("limits missed: %s", strings.Join(missed, ", "))
			}
			return err
		},
	}
	f := c.Flags()
	f.BoolVar(&o.quick, "quick", false, "shorter and smaller: under two minutes")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.BoolVar(&o.check, "check", false, "fail when a limit is missed")
	f.StringVar(&o.dir, "dir", "", "folder for temporary data `FOLDER` (the disk that is measured; default the system's)")
	f.StringVar(&o.profiles, "profile", "", "write CPU profiles of the servers into this `FOLDER`")
	c.AddCommand(childCommand())
	return c
}
