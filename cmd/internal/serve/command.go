package serve

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
)

// Flags are the flags that both roles' commands, and `edition config show`,
// have in common.
type Flags struct {
	config string
	relays []string
	flags  *pflag.FlagSet
	keys   map[string]string // flag → key
}

// AddFlags declares the flags with a role's defaults.
func AddFlags(cmd *cobra.Command, def configs.Node) *Flags {
	f := &Flags{flags: cmd.Flags(), keys: make(map[string]string)}
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "configuration `file` (see: edition config init); also EDITION_CONFIG")
	f.Add("listen", "listen", def.Listen, "`address` for devices (and app servers); port 0 takes a free one")
	f.Add("admin", "admin", def.Admin, "`address` for /healthz /readyz /metrics; keep it private")
	f.Add("data", "data", def.Data, "`folder` for what must survive")
	f.Add("log-level", "log.level", def.Log.Level, "`level`: debug, info, warn or error")
	f.Add("log-format", "log.format", def.Log.Format, "`format`: text or json")
	cmd.Flags().DurationVar(new(time.Duration), "drain", def.Drain, "`time` over which connections are closed at a stop")
	f.keys["drain"] = "drain"
	cmd.Flags().StringArrayVar(&f.relays, "relay", nil, "a relay that may connect, as `NAME=TOKENFILE`; once for each")
	return f
}

// Add declares a flag that sets a key.
func (f *Flags) Add(flag, key, def, usage string) {
	f.flags.String(flag, def, usage)
	f.keys[flag] = key
}

// Source says what the flags ask to be read: the file, and the keys of those
// flags that were given.
func (f *Flags) Source() (configs.Source, error) {
	src := configs.Source{File: cmp.Or(f.config, os.Getenv(configs.EnvPrefix+"CONFIG")), Set: make(map[string]any)}
	f.flags.Visit(func(fl *pflag.Flag) {
		if key, ok := f.keys[fl.Name]; ok {
			src.Set[key] = fl.Value.String()
		}
	})
	if len(f.relays) > 0 {
		var list []any
		for _, r := range f.relays {
			name, file, ok := strings.Cut(r, "=")
			if !ok || name == "" || file == "" {
				return src, fmt.Errorf("%w: --relay %q is not NAME=TOKENFILE", edition.ErrUsage, r)
			}
			list = append(list, map[string]any{"name": name, "token_file": file})
		}
		src.Set["relays"] = list
	}
	return src, nil
}
