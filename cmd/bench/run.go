package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// run is one run of the benchmark.
type run struct {
	// Fixed after construction.
	sizes    sizes
	dir      string // for data files; removed at the end
	profiles string // folder for CPU profiles of the server; empty: none
	progress *progress

	report *report // Owned by the goroutine that measures.
}

// scenario measures one or several figures that share their preparation.
type scenario struct {
	figures []string
	measure func(r *run, ctx context.Context, want func(figure string) bool) error
}

// scenarios in the order in which they run and print.
var scenarios = []scenario{
	{[]string{"connected", "latency", "idle"}, (*run).connected},
	{[]string{"stored"}, (*run).stored},
	{[]string{"drain"}, (*run).drain},
	{[]string{"reconnect"}, (*run).reconnect},
	{[]string{"kicks"}, (*run).kicks},
}

// figures measures the figures that are wanted, all when none is named.
func (r *run) figures(ctx context.Context, names []string) error {
	want := func(figure string) bool {
		return len(names) == 0 || slices.Contains(names, figure)
	}
	for _, s := range scenarios {
		for _, f := range s.figures {
			if !want(f) {
				continue
			}
			if err := s.measure(r, ctx, want); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			break
		}
	}
	return nil
}

// profileOf starts a CPU profile of a process, when profiles are asked for.
// The function that it returns ends it.
func (r *run) profileOf(p *process, label string) func() {
	if r.profiles == "" {
		return func() {}
	}
	name := strings.Trim(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, label), "-")
	path, err := filepath.Abs(filepath.Join(r.profiles, name+".pprof"))
	if err == nil {
		err = os.MkdirAll(r.profiles, 0o755)
	}
	if err == nil {
		err = p.Profile(path)
	}
	if err != nil {
		fmt.Fprintln(r.progress.out, "no profile:", err) //nolint:errcheck // said as well as possible
		return func() {}
	}
	return func() {
		if err := p.StopProfile(); err != nil {
			fmt.Fprintln(r.progress.out, "no profile:", err) //nolint:errcheck // said as well as possible
		}
	}
}

// count writes a number of keys shortly.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
