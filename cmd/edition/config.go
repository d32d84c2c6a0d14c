package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/relay"
	"github.com/edition-push/edition/cmd/server"
	"github.com/edition-push/edition/configs"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Make, check and show configurations",
		Long: `A configuration is optional. Where one key is said more than once, flags go
before EDITION_… variables, these before the file, and that before the defaults.`,
		Example: `  edition config init server > server.yaml     # every key with its default, commented
  edition config check server.yaml             # all faults at once
  edition config show server -c server.yaml    # what would be in force`,
	}
	cmd.AddCommand(configInit(), configCheck(), configShow())
	return cmd
}

func configInit() *cobra.Command {
	return &cobra.Command{
		Use:       "init [server|relay]",
		Short:     "Print a commented configuration with the defaults",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{configs.RoleServer, configs.RoleRelay},
		RunE: func(cmd *cobra.Command, args []string) error {
			sample := configs.ServerSample
			if len(args) == 1 && args[0] == configs.RoleRelay {
				sample = configs.RelaySample
			}
			_, err := io.WriteString(cmd.OutOrStdout(), sample)
			return err
		},
	}
}

func configCheck() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration and the files it names",
		Long: `Says "ok", or every fault with its key path. Files that are named (tokens,
certificates) are read; the data folder is not touched. A file with upstreams
or a name is taken for a relay's, another for a server's, unless --role says.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if role == "" {
				role = roleOf(args[0])
			}
			var err error
			switch role {
			case configs.RoleServer:
				_, err = configs.LoadServer(configs.Source{File: args[0]})
			case configs.RoleRelay:
				_, err = configs.LoadRelay(configs.Source{File: args[0]})
			default:
				err = fmt.Errorf("%w: --role %q is neither server nor relay", edition.ErrUsage, role)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, a %s's configuration\n", args[0], role)
			return err
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "`role` that the file is for: server or relay")
	return cmd
}

// roleOf guesses whose configuration a file is. What cannot be read is said by
// the loading of it.
func roleOf(file string) string {
	var keys map[string]any
	if text, err := os.ReadFile(file); err != nil || yaml.Unmarshal(text, &keys) != nil {
		return configs.RoleServer
	}
	_, upstreams := keys["upstreams"]
	_, name := keys["name"]
	if upstreams || name {
		return configs.RoleRelay
	}
	return configs.RoleServer
}

// configShow is also its own first child, so that the role may be left out as
// with init.
func configShow() *cobra.Command {
	show := showServer("show [server|relay]")
	show.Short = "Print the configuration that would be in force"
	show.Long = `Takes the flags of the role's command and prints what it would run with, after
the file, the EDITION_… variables and the flags. Secrets are not shown.`
	show.Example = `  edition config show server
  EDITION_STORE_TTL=24h edition config show relay --upstream http://127.0.0.1:8080`
	show.AddCommand(showServer(configs.RoleServer), showRelay())
	return show
}

func showServer(use string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: "Print a server's configuration", Args: cobra.NoArgs}
	load := server.Flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		return configs.Show(cmd.OutOrStdout(), cfg)
	}
	return cmd
}

func showRelay() *cobra.Command {
	cmd := &cobra.Command{Use: configs.RoleRelay, Short: "Print a relay's configuration", Args: cobra.NoArgs}
	load := relay.Flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		return configs.Show(cmd.OutOrStdout(), cfg)
	}
	return cmd
}
