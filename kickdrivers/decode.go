package kickdrivers

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/log"
	"github.com/edition-push/edition/kickdrivers/udp"
)

// Default is the list for a configuration that has none: one entry, udp, into
// the loopback networks.
func Default() []map[string]any {
	return []map[string]any{{
		"name":   "udp",
		"driver": "udp",
		"networks": []any{map[string]any{
			"name":  "loopback",
			"cidrs": []any{"127.0.0.0/8", "::1/128"},
		}},
	}}
}

// common are the keys of every entry. The rest is the driver's.
type common struct {
	Name   string         `mapstructure:"name"`
	Driver string         `mapstructure:"driver"`
	Policy Policy         `mapstructure:",squash"`
	Rest   map[string]any `mapstructure:",remain"`
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// Decode reads the operator's list of drivers. It opens nothing. The error, an
// edition.ErrConfig, names all faults at once, a line each, with the key path
// and the value seen:
//
//	kicks[2] (carrier-es): networks[0].cidrs[1]: "214/07" is not a CIDR such as 10.0.0.0/8
func Decode(entries []map[string]any) ([]Entry, error) {
	var faults []error
	seen := make(map[string]bool)
	all := make([]Entry, 0, len(entries))
	for i, m := range entries {
		e, errs := decodeEntry(m)
		if seen[e.Name] && e.Name != "" {
			errs = append(errs, fmt.Errorf("name: %q is given twice", e.Name))
		}
		seen[e.Name] = true
		for _, err := range errs {
			faults = append(faults, fmt.Errorf("kicks[%d] (%s): %w", i, e.Name, err))
		}
		all = append(all, e)
	}
	if len(entries) > maxEntries {
		faults = append(faults, fmt.Errorf("kicks: %d entries are more than %d", len(entries), maxEntries))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	return all, nil
}

func decodeEntry(m map[string]any) (Entry, []error) {
	c := common{Policy: DefaultPolicy()}
	faults := strict(m, &c)
	if c.Name == "" {
		c.Name = c.Driver
	}
	if !validName.MatchString(c.Name) {
		faults = append(faults, fmt.Errorf("name: %q is not 1 to 32 of a-z 0-9 . _ -", c.Name))
	}
	faults = append(faults, c.Policy.faults()...)
	open, errs := decodeDriver(c.Driver, c.Rest)
	return Entry{Name: c.Name, Policy: c.Policy, Open: open}, append(faults, errs...)
}

// decodeDriver is the list of drivers: a case each.
func decodeDriver(driver string, keys map[string]any) (open func(*slog.Logger) (Driver, error), faults []error) {
	switch driver {
	case "udp":
		c := udp.DefaultConfig()
		faults = append(strict(keys, &c), c.Faults()...)
		open = func(l *slog.Logger) (Driver, error) { return udp.New(c, l) }
	case "log":
		c := log.DefaultConfig()
		faults = append(strict(keys, &c), c.Faults()...)
		open = func(l *slog.Logger) (Driver, error) { return log.New(c, l), nil }
	default:
		faults = []error{fmt.Errorf("driver: %q is not udp or log", driver)}
	}
	return open, faults
}
