// Package log is a kick driver that writes a line where others send
// something: to see on a desk whom the dispatcher would wake, and when. It
// promises to reach nobody.
package log

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"unicode"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Config of the driver.
type Config struct {
	// Level of the lines: debug, info or warn.
	Level string `mapstructure:"level"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config { return Config{Level: "info"} }

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn}

// Faults says what is wrong with the configuration.
func (c Config) Faults() []error {
	if _, ok := levels[c.Level]; !ok {
		return []error{fmt.Errorf("level: %q is not debug, info or warn", c.Level)}
	}
	return nil
}

// Driver writes lines. Make one with New.
type Driver struct {
	level slog.Level
	log   *slog.Logger
}

// New returns the driver for a configuration without faults.
func New(c Config, env driver.Env) *Driver {
	return &Driver{level: levels[c.Level], log: env.Logger()}
}

// target is what a device registers and what is stored.
type target struct {
	Label string `json:"label"`
}

// maxLabel is the greatest length of a label, in bytes.
const maxLabel = 64

func parse(raw json.RawMessage) (target, error) {
	var t target
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, fmt.Errorf(`%w: the target is not an object such as {"label":"lamp"}`, edition.ErrMalformed)
	}
	if t.Label == "" || len(t.Label) > maxLabel || strings.ContainsFunc(t.Label, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return t, fmt.Errorf("%w: label %.80q is not 1 to %d bytes of printable text", edition.ErrMalformed, t.Label, maxLabel)
	}
	return t, nil
}

// Check accepts any object with a label of 1 to 64 bytes of printable text.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// Aim is the label.
func (d *Driver) Aim(raw json.RawMessage) string {
	t, err := parse(raw)
	if err != nil {
		return ""
	}
	return t.Label
}

// Show returns the line without the time and the driver's name.
func (d *Driver) Show(k driver.Kick) (string, error) {
	t, err := stored(k.Target)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	l := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: d.level, ReplaceAttr: noTime}))
	l.LogAttrs(context.Background(), d.level, "kick", attrs(t, k)...)
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func stored(raw json.RawMessage) (target, error) {
	t, err := parse(raw)
	if err != nil {
		return t, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	return t, nil
}

func attrs(t target, k driver.Kick) []slog.Attr {
	all := []slog.Attr{slog.String("label", t.Label)}
	if k.Confirm != "" {
		all = append(all, slog.String("confirm", k.Confirm))
	}
	return all
}

// Kick writes a line for each target.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	for i, k := range kicks {
		t, err := stored(k.Target)
		if err != nil {
			errs[i] = err
			continue
		}
		d.log.LogAttrs(ctx, d.level, "kick", attrs(t, k)...)
	}
}

// Close does nothing.
func (d *Driver) Close() error { return nil }
