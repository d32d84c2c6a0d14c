package kickdrivers

import (
	"fmt"
	"log/slog"
	"time"
)

// Entry is one item of the operator's list of drivers.
type Entry struct {
	Name   string // what routes and metrics call it
	Policy Policy
	// Open makes the driver. Nothing is opened before New calls it.
	Open func(log *slog.Logger) (Driver, error)
}

// Policy says when a driver's kicks are sent. Its keys stand in the same map
// as the driver's own.
type Policy struct {
	// Grace is how long a party may be away before it is kicked: it may just
	// be reconnecting. Events that come meanwhile share the kick.
	Grace time.Duration `mapstructure:"grace"`
	// MinInterval is the shortest time between two kicks of one party.
	MinInterval time.Duration `mapstructure:"min_interval"`
	// Rate is the number of kicks a second of the whole driver; 0 is no
	// limit. Burst is how many may go at once after a pause.
	Rate  float64 `mapstructure:"rate"`
	Burst int     `mapstructure:"burst"`
	// RetryMin is when a kick that brought nobody is repeated at first; the
	// time doubles up to RetryMax. Each is varied by a fifth.
	RetryMin time.Duration `mapstructure:"retry_min"`
	RetryMax time.Duration `mapstructure:"retry_max"`
	// GiveUp ends the repeats, counted from the event. A new event starts over.
	GiveUp time.Duration `mapstructure:"give_up"`
	// Parallel is how many batches of kicks may be under way at once.
	Parallel int `mapstructure:"parallel"`
	// BreakAfter is how many failures of the provider in a row open the
	// breaker; 0 never opens it. It stays open for BreakFor, then one kick
	// probes; the time doubles with each failed probe, up to 5 minutes.
	BreakAfter int           `mapstructure:"break_after"`
	BreakFor   time.Duration `mapstructure:"break_for"`
	// MaxWaiting is how many parties this entry lets the dispatcher hold:
	// waiting for a kick, or for its effect. Beyond, parties that were kicked
	// make room, and are found in the store again.
	MaxWaiting int `mapstructure:"max_waiting"`
}

// DefaultPolicy is what holds for keys that an entry does not set.
func DefaultPolicy() Policy {
	return Policy{
		Grace:       300 * time.Millisecond,
		MinInterval: 5 * time.Second,
		Rate:        1000,
		Burst:       200,
		RetryMin:    10 * time.Second,
		RetryMax:    10 * time.Minute,
		GiveUp:      24 * time.Hour,
		Parallel:    16,
		BreakAfter:  5,
		BreakFor:    10 * time.Second,
		MaxWaiting:  100_000,
	}
}

// maxWaiting bounds all entries' MaxWaiting together: a party takes about 100
// bytes.
const maxWaiting = 50_000_000

// faults says what is wrong with a policy, each with its key and value.
func (p Policy) faults() (all []error) {
	wrong := func(bad bool, key string, value any, want string) {
		if bad {
			all = append(all, fmt.Errorf("%s: %v is not %s", key, value, want))
		}
	}
	wrong(p.Grace < 0 || p.Grace > time.Minute, "grace", p.Grace, "between 0s and 1m")
	wrong(p.MinInterval < 0 || p.MinInterval > time.Hour, "min_interval", p.MinInterval, "between 0s and 1h")
	wrong(!(p.Rate == 0 || p.Rate >= 0.01 && p.Rate <= 1e9), "rate", p.Rate, "0 (no limit) or between 0.01 and 1e9 kicks a second")
	wrong(p.Burst < 1, "burst", p.Burst, "1 or more")
	wrong(p.RetryMin < 100*time.Millisecond, "retry_min", p.RetryMin, "100ms or more")
	wrong(p.RetryMax < p.RetryMin || p.RetryMax > 24*time.Hour, "retry_max", p.RetryMax, "between retry_min and 24h")
	wrong(p.GiveUp < p.RetryMin, "give_up", p.GiveUp, "retry_min or more")
	wrong(p.Parallel < 1 || p.Parallel > 1024, "parallel", p.Parallel, "between 1 and 1024")
	wrong(p.BreakAfter < 0, "break_after", p.BreakAfter, "0 (never) or more")
	wrong(p.BreakFor < 100*time.Millisecond || p.BreakFor > breakMax, "break_for", p.BreakFor, "between 100ms and 5m")
	wrong(p.MaxWaiting < 1 || p.MaxWaiting > maxWaiting, "max_waiting", p.MaxWaiting, "between 1 and 50 million")
	return all
}
