package server

import (
	"github.com/spf13/cobra"

	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
)

// Command is `edition server`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Take versions from app servers and signal them to devices",
		Long: `Runs a server: app servers PUT a version to an endpoint, the device that the
endpoint belongs to gets an update, and acknowledges it.

It needs no configuration: data goes to ./data, and it listens on loopback
only. The first start makes a token with which a relay may connect, and prints
the command line that starts one.

SIGTERM or Ctrl-C drains: new versions are refused with 503, connections are
closed over the drain time, and the last commit is made. A second one ends the
process at once; what was answered 2xx is kept in either case.

SIGHUP reads the configuration again and takes up what has changed of the kick
drivers, the endpoint keys, the certificates, the relays and their tokens, the
callers of the gateway, and the log level. No connection is closed but that of
a relay whose token counts no more. A file with a fault changes nothing.`,
		Example: `  # on this machine, data in ./data
  edition server

  # on a network, behind a proxy that ends TLS
  edition server --listen :8080 --data /var/lib/edition --public-url https://push.example.org

  # with two relays, each with its own token
  edition server --relay north=north.token --relay south=south.token

  # everything else: a file
  edition config init server > server.yaml
  edition server --config server.yaml`,
		Args: cobra.NoArgs,
	}
	load := Flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		defer serve.TuneProcess(cmd.Context())()
		reload, stop := serve.OnHangup(cfg, load)
		defer stop()
		return Run(cmd.Context(), cfg, serve.Options{Out: cmd.OutOrStdout(), Reload: reload})
	}
	return cmd
}

// Flags declares a server's flags and returns what reads the configuration
// once they are parsed.
func Flags(cmd *cobra.Command) (load func() (configs.Server, error)) {
	f := serve.AddFlags(cmd, configs.DefaultServer().Node)
	f.Add("public-url", "public_url", "", "`URL` by which app servers reach this server (default: the address listened on)")
	f.Add("keys-file", "keys_file", "", "`file` with the keys that seal endpoints (default: endpoint-keys.yaml in the data folder)")
	return func() (configs.Server, error) {
		src, err := f.Source()
		if err != nil {
			return configs.Server{}, err
		}
		return configs.LoadServer(src)
	}
}
