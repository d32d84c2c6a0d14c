package kickdrivers

import (
	"fmt"
	"math"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// Entry is one item of the operator's list of drivers.
type Entry struct {
	Name   string // what routes and metrics call it
	Driver string // the kind of its driver, such as "udp"
	Policy Policy
	// Fingerprint is equal for entries whose drivers would be the same: such
	// a driver is kept by a reload. Empty is equal to nothing.
	Fingerprint string
	// Open makes the driver. Nothing is opened before New or Reload call it.
	Open func(driver.Env) (driver.Driver, error)
}

// Policy says when a driver's kicks are sent. Its keys stand in the same map
// as the driver's own.
type Policy struct {
	// Grace is how long a party may be away before it is kicked: it may just
	// be reconnecting. Events that come meanwhile share the kick.
	Grace time.Duration `mapstructure:"grace"`
	// MinInterval is the shortest time between two rounds of kicks of one
	// party: it has one kick, or one for each of its routes.
	MinInterval time.Duration `mapstructure:"min_interval"`
	// NextAfter is how long a party that was kicked has to connect, before
	// its next route is tried; 0: the next is tried only when this one fails.
	NextAfter time.Duration `mapstructure:"next_after"`
	// Rate is the number of kicks a second of the whole driver; 0 is no
	// limit. Burst is how many may go at once after a pause.
	Rate  float64 `mapstructure:"rate"`
	Burst int     `mapstructure:"burst"`
	// TargetRate is how many kicks a second one target gets, whoever asks
	// for them; 0 is no limit. TargetBurst may go at once. TargetCounters is
	// the size of the table that keeps account, two numbers of 8 bytes a
	// target: when it is small for the driver's rate, targets may share a
	// budget. 0 chooses one that is large enough.
	TargetRate     float64 `mapstructure:"target_rate"`
	TargetBurst    int     `mapstructure:"target_burst"`
	TargetCounters int     `mapstructure:"target_counters"`
	// Confirm has a device repeat a code that was kicked to a target before
	// the target is used.
	Confirm bool `mapstructure:"confirm"`
	// RetryMin is when a round of kicks that brought nobody is repeated at
	// first; the time doubles up to RetryMax. Each is varied by a fifth.
	RetryMin time.Duration `mapstructure:"retry_min"`
	RetryMax time.Duration `mapstructure:"retry_max"`
	// GiveUp ends the repeats, counted from the event. A new event starts over.
	GiveUp time.Duration `mapstructure:"give_up"`
	// Parallel is how many batches of kicks may be under way at once.
	Parallel int `mapstructure:"parallel"`
	// BreakAfter is how many failures of the provider in a row open the
	// breaker; 0 never opens it. It stays open for BreakFor, then one kick
	// probes; the time doubles with each failed probe, up to 5 minutes. A
	// provider that says when it wants to be asked again opens it at once.
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
		NextAfter:   30 * time.Second,
		Rate:        1000,
		Burst:       200,
		TargetRate:  1,
		TargetBurst: 5,
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
	wrong(p.NextAfter != 0 && p.NextAfter < time.Second || p.NextAfter > 24*time.Hour, "next_after", p.NextAfter, "0s (only when this one fails) or between 1s and 24h")
	wrong(!(p.Rate == 0 || p.Rate >= 0.01 && p.Rate <= 1e9), "rate", p.Rate, "0 (no limit) or between 0.01 and 1e9 kicks a second")
	wrong(p.Burst < 1, "burst", p.Burst, "1 or more")
	wrong(!(p.TargetRate == 0 || p.TargetRate >= 0.001 && p.TargetRate <= 1e6), "target_rate", p.TargetRate, "0 (no limit) or between 0.001 and 1e6 kicks a second")
	wrong(p.TargetBurst < 1 || p.TargetBurst > 1e6, "target_burst", p.TargetBurst, "between 1 and 1e6")
	wrong(p.TargetCounters < 0 || p.TargetCounters > 1<<26, "target_counters", p.TargetCounters, "0 (large enough) or between 1 and 2^26")
	wrong(p.RetryMin < 100*time.Millisecond, "retry_min", p.RetryMin, "100ms or more")
	wrong(p.RetryMax < p.RetryMin || p.RetryMax > 24*time.Hour, "retry_max", p.RetryMax, "between retry_min and 24h")
	wrong(p.GiveUp < p.RetryMin, "give_up", p.GiveUp, "retry_min or more")
	wrong(p.Parallel < 1 || p.Parallel > 1024, "parallel", p.Parallel, "between 1 and 1024")
	wrong(p.BreakAfter < 0, "break_after", p.BreakAfter, "0 (never) or more")
	wrong(p.BreakFor < 100*time.Millisecond || p.BreakFor > breakMax, "break_for", p.BreakFor, "between 100ms and 5m")
	wrong(p.MaxWaiting < 1 || p.MaxWaiting > maxWaiting, "max_waiting", p.MaxWaiting, "between 1 and 50 million")
	return all
}

// counters is the size of the table of targets: 16 times as many numbers as
// targets are kicked while one target's burst is paid for.
func (p Policy) counters() int {
	if p.TargetCounters > 0 {
		return p.TargetCounters
	}
	rate := p.Rate
	if rate == 0 {
		rate = 100_000
	}
	n := 16 * rate * float64(p.TargetBurst) / p.TargetRate
	return int(math.Min(math.Max(n, 1<<12), 1<<22))
}

func (p Policy) newBudget() *budget {
	if p.TargetRate == 0 {
		return nil
	}
	return newBudget(p.TargetRate, p.TargetBurst, p.counters())
}
