package kicks

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition/kickdrivers"
)

// defaultAdmin is where a server's admin listener is.
const defaultAdmin = "http://127.0.0.1:9080"

func listCommand() *cobra.Command {
	var admin string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the kick drivers of a running node",
		Long: `Asks the admin listener of a server or relay for its list of kick drivers and
what each has done since the start.

WAITING are devices that wait for the entry's rate or breaker, FLYING batches
in the driver's hands; the other numbers are outcomes (docs/kicks.md).`,
		Example: `  edition kicks list
  edition kicks list --admin http://127.0.0.1:9081 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var entries []kickdrivers.EntryState
			if err := ask(cmd.Context(), http.DefaultClient, admin+"/kicks", "", &entries); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), entries)
			}
			return printTable(cmd.OutOrStdout(), entries)
		},
	}
	addAdmin(cmd, &admin)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func addAdmin(cmd *cobra.Command, admin *string) {
	cmd.Flags().StringVar(admin, "admin", defaultAdmin, "`URL` of the node's admin listener (a relay's is :9081 unless said)")
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printTable(w io.Writer, entries []kickdrivers.EntryState) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tDRIVER\tBREAKER\tWAITING\tFLYING\tSENT\tANSWERED\tUNANSWERED\tGONE\tREFUSED\tFAILED") //nolint:errcheck // Flush says
	for _, e := range entries {
		n := func(o kickdrivers.Outcome) uint64 { return e.Outcomes[o.String()] }
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", e.Name, e.Driver, breaker(e), e.Queued+e.Errands, e.Flying, //nolint:errcheck // the same
			n(kickdrivers.Sent), n(kickdrivers.Answered), n(kickdrivers.Unanswered), n(kickdrivers.Gone), n(kickdrivers.Refused), n(kickdrivers.Failed))
	}
	return t.Flush()
}

// breaker is the state of an entry's breaker, with the time that is left.
func breaker(e kickdrivers.EntryState) string {
	if e.Wait > 0 {
		return fmt.Sprintf("%s %v", e.Breaker, e.Wait.Round(time.Second))
	}
	return e.Breaker
}
