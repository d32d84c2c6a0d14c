package relay

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
)

// Command is `edition relay`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Take updates from upstream and signal them to the devices of a network",
		Long: `Runs a relay: towards its upstream, a server or another relay, it is a client;
towards the devices of its network it is a server. It keeps each update on its
own disk before it reports it stored, and passes registrations up: endpoints
are made above, while how a device is woken never leaves the relay.

While upstream is away the relay goes on serving its devices; new registrations
are answered 503.

SIGHUP reads the configuration again and takes up what has changed of the kick
drivers, the certificates of the listener, the relays behind it and their
tokens, its own tokens for its upstreams, the callers of the gateway, and the
log level. No connection is closed but that of a relay whose token counts no
more. A file with a fault changes nothing.`,
		Example: `  # beside "edition server", whose token it finds in ./data
  edition relay --upstream http://127.0.0.1:8080

  # in a network of its own
  edition relay --upstream https://push.example.org --name north --token-file north.token \
      --listen 10.0.0.5:8081 --data /var/lib/edition

  # with a further relay behind it
  edition relay --upstream http://10.0.0.5:8081 --name north --token-file north.token --relay cellar=cellar.token

  # several upstreams, proxies, certificates, kick drivers: a file
  edition config init relay > relay.yaml
  edition relay --config relay.yaml`,
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

// Flags declares a relay's flags and returns what reads the configuration
// once they are parsed.
func Flags(cmd *cobra.Command) (load func() (configs.Relay, error)) {
	def := configs.DefaultRelay()
	f := serve.AddFlags(cmd, def.Node)
	f.Add("name", "name", def.Name, "`name` of this relay at its upstreams")
	up := make(map[string]*string)
	for flag, usage := range map[string]string{
		"upstream":   "`URL` of the one upstream (a file can name several)",
		"token-file": "`file` with the token for --upstream (default: relay.token in the data folder)",
		"mode":       "`mode` of the connection to --upstream: auto, websocket or poll",
		"proxy":      "`URL` of a proxy towards --upstream: http, https or socks5",
		"custody":    "who keeps events until the device has them: device (upstream does) or relay (`word`)",
	} {
		up[flag] = cmd.Flags().String(flag, "", usage)
	}
	return func() (configs.Relay, error) {
		src, err := f.Source()
		if err != nil {
			return configs.Relay{}, err
		}
		entry := map[string]any{"url": *up["upstream"]}
		for flag, key := range map[string]string{"token-file": "token_file", "mode": "mode", "proxy": "proxy", "custody": "custody"} {
			if *up[flag] == "" {
				continue
			}
			if *up["upstream"] == "" {
				return configs.Relay{}, fmt.Errorf("%w: --%s belongs to --upstream URL, which is missing", edition.ErrUsage, flag)
			}
			entry[key] = *up[flag]
		}
		if *up["upstream"] != "" {
			src.Set["upstreams"] = []any{entry}
		}
		return configs.LoadRelay(src)
	}
}
