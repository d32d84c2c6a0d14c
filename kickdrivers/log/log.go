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
func New(c Config, log *slog.Logger) *Driver { return &Driver{level: levels[c.Level], log: log} }

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

// Kick writes a line for each target.
func (d *Driver) Kick(ctx context.Context, targets []json.RawMessage, errs []error) {
	for i, raw := range targets {
		t, err := parse(raw)
		if err != nil {
			errs[i] = fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
			continue
		}
		d.log.Log(ctx, d.level, "kick", "label", t.Label)
	}
}

// Close does nothing.
func (d *Driver) Close() error { return nil }
