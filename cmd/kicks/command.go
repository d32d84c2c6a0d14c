// Package kicks is `edition kicks`: kick drivers from the terminal, one tried by
// hand, and those of a running node seen.
//
// It promises that a driver is tried with the code and the configuration with
// which it runs in a server or relay. It keeps nothing, and knows no driver but
// for the short forms of targets.
package kicks

import "github.com/spf13/cobra"

// Command is `edition kicks`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "kicks",
		Aliases: []string{"kick"},
		Short:   "Try kick drivers, and see those of a running node",
		Long: `A kick driver wakes devices that have something pending and are not connected.
The list kicks: of the configuration says which there are (docs/kicks.md).`,
		Example: `  edition kick test --driver udp --to 127.0.0.1:4000
  edition kick test --config relay.yaml --driver apns --to DEVICETOKEN --dry-run
  edition kicks list
  edition kicks show carrier-es`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(testCommand(), listCommand(), showCommand(), vapidCommand())
	return cmd
}

// exitError is an error with an exit code of its own.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

// Exits is the code that the process ends with.
func (e exitError) Exits() int { return e.code }
