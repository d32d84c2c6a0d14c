package kicks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Exit codes of a kick that was not sent, of sysexits.h.
const (
	exitMalformed = 64 // EX_USAGE: the target makes no sense
	exitGone      = 68 // EX_NOHOST: the provider says that it no longer exists
	exitProvider  = 69 // EX_UNAVAILABLE: the provider failed or holds back
	exitRefused   = 77 // EX_NOPERM: the configuration does not allow it
)

// registration is the size that a device's request is taken to have, in bytes:
// a kick to an address must not be larger.
const registration = 4 << 10

// trial is what the flags of `edition kicks test` ask for.
type trial struct {
	driver, to, config string
	from, confirm      string
	set                []string
	dry, verbose       bool
	timeout            time.Duration
}

func testCommand() *cobra.Command {
	var t trial
	cmd := &cobra.Command{
		Use:   "test --driver NAME --to TARGET",
		Short: "Send one kick by one driver, or show what would be sent",
		Long: `Opens one driver as the configuration says, checks the target as if a device
had registered it, and sends one kick. With --dry-run it prints what would be
sent, and sends nothing.

NAME is an entry of the list kicks, or a driver of which there is one entry.
Without --config (or EDITION_CONFIG) it is the list that holds without a file,
or an entry made of --set alone.

TARGET is what a device would register as its kick, a JSON object, or short:

` + shortForms() + `
Exit codes: 0 sent, or shown; 64 the target makes no sense; 68 the target no
longer exists; 69 the provider failed or holds back; 77 the configuration does
not allow the target; 78 the configuration has faults; 1 this target failed.`,
		Example: `  edition kick test --driver udp --to 127.0.0.1:4000
  edition kick test --driver udp --set 'networks=[{cidrs: [10.0.0.0/8]}]' --to 10.1.2.3:4000 --dry-run
  edition kick test --config relay.yaml --driver carrier-es --to '{"ip":"10.1.2.3","port":4000,"proto":"tcp"}'
  edition kick test --config relay.yaml --driver sms --to +34600111222 --confirm ABCD2345`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s := cmd.Flags()
	s.StringVar(&t.driver, "driver", "", "`name` of the entry, or of its driver")
	s.StringVar(&t.to, "to", "", "`target`: JSON, or short")
	s.StringVarP(&t.config, "config", "c", os.Getenv(configs.EnvPrefix+"CONFIG"), "configuration `file` with the list kicks; also EDITION_CONFIG")
	s.StringArrayVar(&t.set, "set", nil, "`key=value` of the entry, the value as YAML; once for each")
	s.StringVar(&t.from, "from", "", "`address` that the device would register from (default: its own ip)")
	s.StringVar(&t.confirm, "confirm", "", "send this `code`, as for a route that has to be confirmed")
	s.BoolVar(&t.dry, "dry-run", false, "print what would be sent, and send nothing")
	s.DurationVar(&t.timeout, "timeout", 30*time.Second, "how long the kick may take")
	s.BoolVarP(&t.verbose, "verbose", "v", false, "log what the driver does, to standard error")
	return cmd
}

func (t *trial) run(ctx context.Context, out, errs io.Writer) error {
	if t.driver == "" || t.to == "" {
		return fmt.Errorf("%w: --driver and --to are needed", edition.ErrUsage)
	}
	keys, err := settings(t.set)
	if err != nil {
		return err
	}
	entry, err := configs.LoadKick(t.config, t.driver, keys)
	if err != nil {
		return err
	}
	asked, err := expand(entry.Name, entry.Driver, t.to)
	if err != nil {
		return err
	}
	from, err := t.source(asked)
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if t.verbose {
		level = slog.LevelDebug
	}
	d, err := entry.Open(driver.Env{Log: slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))})
	if err != nil {
		return fmt.Errorf("%w: %s cannot be opened: %w", edition.ErrConfig, entry.Name, err)
	}
	err = t.kick(ctx, out, d, asked, from)
	return errors.Join(err, d.Close())
}

// kick checks the target, and shows the kick or sends it.
func (t *trial) kick(ctx context.Context, out io.Writer, d driver.Driver, asked json.RawMessage, from netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	target, err := check(ctx, d, asked, from)
	if err != nil {
		return failure(fmt.Errorf("the target is refused when it is registered: %w", err))
	}
	k := driver.Kick{Target: target, Confirm: t.confirm}
	fmt.Fprintf(out, "target  %s\naim     %s\n", target, d.Aim(target)) //nolint:errcheck // nobody is left to be told
	if t.dry {
		text, err := d.Show(k)
		if err != nil {
			return failure(err)
		}
		_, err = fmt.Fprintf(out, "\nWould be sent:\n\n%s\n", strings.TrimRight(text, "\n"))
		return err
	}
	start := time.Now()
	var result [1]error
	d.Kick(ctx, []driver.Kick{k}, result[:])
	took := time.Since(start)
	fmt.Fprintf(out, "outcome %s after %.1f ms: %s\n", word(result[0]), float64(took.Microseconds())/1000, hint(result[0])) //nolint:errcheck // the same
	if result[0] == nil {
		return nil
	}
	return failure(result[0])
}

// check waits for a driver that first has to learn what it may reach.
func check(ctx context.Context, d driver.Driver, asked json.RawMessage, from netip.Addr) (json.RawMessage, error) {
	for {
		target, err := d.Check(asked, from, registration)
		if !errors.Is(err, edition.ErrUnavailable) {
			return target, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(checkAgain):
		}
	}
}

const checkAgain = 50 * time.Millisecond

// source is the address that the device is taken to register from: some
// drivers kick no other one.
func (t *trial) source(asked json.RawMessage) (netip.Addr, error) {
	if t.from != "" {
		from, err := netip.ParseAddr(t.from)
		if err != nil {
			return from, fmt.Errorf("%w: --from %q is not an IP address", edition.ErrUsage, t.from)
		}
		return from, nil
	}
	var own struct {
		IP netip.Addr `json:"ip"`
	}
	if json.Unmarshal(asked, &own) != nil {
		return netip.Addr{}, nil // what is wrong with it is said by Check
	}
	return own.IP, nil
}

// settings reads key=value; dots lead into groups.
func settings(set []string) (map[string]any, error) {
	keys := make(map[string]any)
	for _, s := range set {
		path, text, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return nil, fmt.Errorf("%w: --set %q is not key=value", edition.ErrUsage, s)
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return nil, fmt.Errorf("%w: --set %s: the value is not YAML", edition.ErrUsage, path)
		}
		at := keys
		for {
			head, rest, deeper := strings.Cut(path, ".")
			if !deeper {
				at[head] = value
				break
			}
			below, _ := at[head].(map[string]any)
			if below == nil {
				below = make(map[string]any)
			}
			at[head], at, path = below, below, rest
		}
	}
	return keys, nil
}
