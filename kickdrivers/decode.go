package kickdrivers

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/apns"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/exec"
	"github.com/edition-push/edition/kickdrivers/fcm"
	"github.com/edition-push/edition/kickdrivers/gateway"
	"github.com/edition-push/edition/kickdrivers/log"
	"github.com/edition-push/edition/kickdrivers/mqtt"
	"github.com/edition-push/edition/kickdrivers/sms"
	"github.com/edition-push/edition/kickdrivers/udp"
	"github.com/edition-push/edition/kickdrivers/wakeup"
	"github.com/edition-push/edition/kickdrivers/webhook"
	"github.com/edition-push/edition/kickdrivers/webpush"
)

// Default is the list for a configuration that has none: what can be tried on
// one machine and reaches nothing else. udp goes into the loopback networks,
// log writes a line.
func Default() []map[string]any {
	return []map[string]any{{
		"name":   "udp",
		"driver": "udp",
		"networks": []any{map[string]any{
			"name":  "loopback",
			"cidrs": []any{"127.0.0.0/8", "::1/128"},
		}},
	}, {
		"name":   "log",
		"driver": "log",
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
	own, errs := decodeDriver(c.Driver, c.Rest)
	return Entry{Name: c.Name, Driver: c.Driver, Policy: c.Policy, Fingerprint: own.print, Open: own.open}, append(faults, errs...)
}

// decodeDriver is the list of drivers: a case each.
func decodeDriver(kind string, keys map[string]any) (made, []error) {
	switch kind {
	case "udp":
		return decodeKeys(keys, udp.DefaultConfig(), func(c udp.Config, env driver.Env) (driver.Driver, error) { return udp.New(c, env) })
	case "gateway":
		return decodeKeys(keys, gateway.DefaultConfig(), func(c gateway.Config, env driver.Env) (driver.Driver, error) { return gateway.New(c, env) })
	case "webpush":
		return decodeKeys(keys, webpush.DefaultConfig(), func(c webpush.Config, env driver.Env) (driver.Driver, error) { return webpush.New(c, env) })
	case "apns":
		return decodeKeys(keys, apns.DefaultConfig(), func(c apns.Config, env driver.Env) (driver.Driver, error) { return apns.New(c, env) })
	case "fcm":
		return decodeKeys(keys, fcm.DefaultConfig(), func(c fcm.Config, env driver.Env) (driver.Driver, error) { return fcm.New(c, env) })
	case "exec":
		return decodeKeys(keys, exec.DefaultConfig(), func(c exec.Config, env driver.Env) (driver.Driver, error) { return exec.New(c, env) })
	case "mqtt":
		return decodeKeys(keys, mqtt.DefaultConfig(), func(c mqtt.Config, env driver.Env) (driver.Driver, error) { return mqtt.New(c, env) })
	case "sms":
		return decodeKeys(keys, sms.DefaultConfig(), func(c sms.Config, env driver.Env) (driver.Driver, error) { return sms.New(c, env) })
	case "webhook":
		return decodeKeys(keys, webhook.DefaultConfig(), func(c webhook.Config, env driver.Env) (driver.Driver, error) { return webhook.New(c, env) })
	case "wakeup":
		return decodeKeys(keys, wakeup.DefaultConfig(), func(c wakeup.Config, env driver.Env) (driver.Driver, error) { return wakeup.New(c, env) })
	case "log":
		return decodeKeys(keys, log.DefaultConfig(), func(c log.Config, env driver.Env) (driver.Driver, error) { return log.New(c, env), nil })
	}
	return made{}, []error{unknownDriver(kind)}
}

// Kinds are the drivers that decodeDriver has a case for.
func Kinds() []string {
	return []string{"udp", "gateway", "apns", "fcm", "webpush", "exec", "mqtt", "sms", "webhook", "wakeup", "log"}
}

// made is what becomes of a driver's own keys.
type made struct {
	open  func(driver.Env) (driver.Driver, error)
	print string // see Entry.Fingerprint
}

// decodeKeys reads a driver's own keys into its configuration c, which holds
// the defaults.
func decodeKeys[C interface{ Faults() []error }](keys map[string]any, c C, open func(C, driver.Env) (driver.Driver, error)) (made, []error) {
	faults := strict(keys, &c)
	faults = append(faults, notCausedBy(faults, c.Faults())...)
	if len(faults) > 0 {
		return made{}, faults
	}
	return made{
		open:  func(env driver.Env) (driver.Driver, error) { return open(c, env) },
		print: fingerprint(c),
	}, nil
}
