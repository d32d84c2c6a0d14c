package kicks

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/nearest"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/wire"
)

// door is a gateway and what opens it.
type door struct {
	url, tokenFile string
	tls            outbound.TLS
}

func showCommand() *cobra.Command {
	var admin string
	var gateway door
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME|ID",
		Short: "Show one kick driver of a running node, or one kick of a gateway",
		Long: `Asks the admin listener of a server or relay about the entry NAME, or about the
kick ID that somebody has asked its gateway for. With --gateway the kick's
caller asks the gateway itself.`,
		Example: `  edition kicks show carrier-es
  edition kicks show 4f2a…
  edition kicks show 4f2a… --gateway https://relay.example.net:8082 --token-file gateway.token`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var what any
			var print func(io.Writer) error
			k, err := gateway.kick(cmd, admin, args[0])
			what, print = k, func(w io.Writer) error { return printKick(w, k) }
			if gateway.url == "" && err != nil {
				var e kickdrivers.EntryState
				e, err = entryOf(cmd, admin, args[0])
				what, print = e, func(w io.Writer) error { return printEntry(w, e) }
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), what)
			}
			return print(cmd.OutOrStdout())
		},
	}
	addAdmin(cmd, &admin)
	s := cmd.Flags()
	s.StringVar(&gateway.url, "gateway", "", "`URL` of a gateway, to ask for one of its kicks")
	s.StringVar(&gateway.tokenFile, "token-file", "", "`file` with the caller's token")
	s.StringVar(&gateway.tls.CAFile, "ca-file", "", "PEM `file` of who signed the gateway's certificate")
	s.StringVar(&gateway.tls.CertFile, "cert-file", "", "PEM `file` of the caller's certificate, instead of a token")
	s.StringVar(&gateway.tls.KeyFile, "key-file", "", "PEM `file` of its key")
	s.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func entryOf(cmd *cobra.Command, admin, name string) (e kickdrivers.EntryState, err error) {
	var entries []kickdrivers.EntryState
	if err := ask(cmd.Context(), http.DefaultClient, admin+"/kicks", "", &entries); err != nil {
		return e, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		if names[i] = e.Name; e.Name == name {
			return e, nil
		}
	}
	hint := "there are " + strings.Join(names, ", ")
	if near := nearest.Word(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return e, fmt.Errorf("%w: no entry or kick is named %q there; %s", edition.ErrUsage, name, hint)
}

func printEntry(w io.Writer, e kickdrivers.EntryState) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(key string, value any) { fmt.Fprintf(t, "%s\t%v\n", key, value) } //nolint:errcheck // Flush says
	line("name", e.Name)
	line("driver", e.Driver)
	line("breaker", breaker(e))
	line("rate", e.Rate)
	line("queued", e.Queued)
	line("errands", e.Errands)
	line("flying", e.Flying)
	for _, o := range slices.Sorted(maps.Keys(e.Outcomes)) {
		line(o, e.Outcomes[o])
	}
	return t.Flush()
}

// kick asks for one kick: the gateway, or the admin listener of its node.
func (d *door) kick(cmd *cobra.Command, admin, id string) (k wire.WakeState, err error) {
	if d.url == "" {
		err = ask(cmd.Context(), http.DefaultClient, admin+"/kicks/"+url.PathEscape(id), "", &k)
		return k, err
	}
	client, token, err := d.open()
	if err != nil {
		return k, err
	}
	defer client.CloseIdleConnections()
	err = ask(cmd.Context(), client, strings.TrimSuffix(d.url, "/")+wire.PathKicks+"/"+url.PathEscape(id), token, &k)
	return k, err
}

func (d *door) open() (client *http.Client, token string, err error) {
	if d.tokenFile != "" {
		text, err := driver.Secret{File: d.tokenFile}.Read()
		if err != nil {
			return nil, "", fmt.Errorf("%w: --token-file: %w", edition.ErrConfig, err)
		}
		token = string(text)
	}
	if client, err = outbound.New(outbound.Options{TLS: d.tls, Timeout: askTime}); err != nil {
		return nil, "", fmt.Errorf("%w: %w", edition.ErrConfig, err)
	}
	return client, token, nil
}

func printKick(w io.Writer, k wire.WakeState) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(key string, value any) { fmt.Fprintf(t, "%s\t%v\n", key, value) } //nolint:errcheck // Flush says
	line("id", k.ID)
	line("state", k.State)
	line("since", k.Since.Format(time.RFC3339))
	line("outcome", cmp.Or(k.Outcome, "-"))
	line("driver", cmp.Or(k.Driver, "-"))
	if k.Detail != "" {
		line("detail", k.Detail)
	}
	if k.RetryAfter > 0 {
		line("retry after", time.Duration(k.RetryAfter)*time.Second)
	}
	return t.Flush()
}
