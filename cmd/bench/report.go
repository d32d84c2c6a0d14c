package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// figure is one measured number, beside its reference and limit.
type figure struct {
	Name     string   `json:"name"`
	What     string   `json:"what"`
	Unit     string   `json:"unit"`
	Measured float64  `json:"measured"`
	Bare     *float64 `json:"reference,omitempty"` // the same of the bare reference, or of the smaller size
	Ratio    *float64 `json:"ratio,omitempty"`     // measured / reference, the median of the rounds' ratios
	Limit    *limit   `json:"limit,omitempty"`     // nil: for information
	OK       *bool    `json:"ok,omitempty"`        // whether the limit was kept
	Note     string   `json:"note,omitempty"`
}

// limit bounds a figure: its ratio when it has a reference, else the number.
type limit struct {
	AtMost  float64 `json:"at_most,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
}

func atMost(x float64) *limit { return &limit{AtMost: x} }

func atLeast(x float64) *limit { return &limit{AtLeast: x} }

func (l *limit) keeps(x float64) bool {
	return (l.AtMost == 0 || x <= l.AtMost) && x >= l.AtLeast
}

// report is what a run prints.
type report struct {
	Figures []figure      `json:"figures"`
	Quick   bool          `json:"quick"`
	CPUs    int           `json:"cpus"`
	Go      string        `json:"go"`
	System  string        `json:"system"`
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Note    string        `json:"note,omitempty"` // what makes the figures doubtful
}

func newReport(quick bool) *report {
	return &report{
		Quick: quick, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH, Started: time.Now(),
	}
}

// info adds a number that has no limit.
func (r *report) info(name, what, unit string, rounds []float64) {
	r.add(figure{Name: name, What: what, Unit: unit, Measured: median(rounds)}, nil)
}

// number adds a number with a limit of its own.
func (r *report) number(name, what, unit string, rounds []float64, l *limit) {
	r.add(figure{Name: name, What: what, Unit: unit, Measured: median(rounds)}, l)
}

// ratio adds a number that is compared with a reference, round by round.
func (r *report) ratio(name, what, unit string, ours, bare []float64, l *limit) {
	ratios := make([]float64, min(len(ours), len(bare)))
	for i := range ratios {
		ratios[i] = ours[i] / bare[i]
	}
	b, q := median(bare), median(ratios)
	r.add(figure{Name: name, What: what, Unit: unit, Measured: median(ours), Bare: &b, Ratio: &q}, l)
}

func (r *report) add(f figure, l *limit) {
	if l != nil {
		x := f.Measured
		if f.Ratio != nil {
			x = *f.Ratio
		}
		ok := l.keeps(x)
		f.Limit, f.OK = l, &ok
	}
	r.Figures = append(r.Figures, f)
}

// missed returns the names of the figures that missed their limits.
func (r *report) missed() (names []string) {
	for _, f := range r.Figures {
		if f.OK != nil && !*f.OK {
			names = append(names, f.Name)
		}
	}
	return names
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeTable prints every figure on a line. A figure is in its unit; the ratio
// is what the limit speaks of, where there is one.
func (r *report) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tMEASURED\tREFERENCE\tRATIO\tLIMIT\t\tWHAT") //nolint:errcheck // Flush tells
	for _, f := range r.Figures {
		bare, ratio, verdict := "", "", ""
		if f.Ratio != nil {
			bare, ratio = amount(*f.Bare, f.Unit), fmt.Sprintf("%.2f", *f.Ratio)
		}
		if f.OK != nil {
			verdict = "MISSED"
			if *f.OK {
				verdict = "ok"
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", //nolint:errcheck // Flush tells
			f.Name, amount(f.Measured, f.Unit), bare, ratio, f.limit(), verdict, f.What)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Note != "" {
		fmt.Fprintln(w, "\nnote:", r.Note) //nolint:errcheck // the next line tells
	}
	_, err := fmt.Fprintf(w, "\n%d CPUs, %s, %s, %v\n", r.CPUs, r.System, r.Go, r.Took.Round(time.Second))
	return err
}

func (f figure) limit() string {
	if f.Limit == nil {
		return ""
	}
	sign, x := "≤", f.Limit.AtMost
	if f.Limit.AtLeast != 0 {
		sign, x = "≥", f.Limit.AtLeast
	}
	if f.Ratio != nil {
		return fmt.Sprintf("%s %g ×", sign, x)
	}
	return sign + " " + amount(x, f.Unit)
}

// amount writes a number in its unit with three digits or more.
func amount(x float64, unit string) string {
	switch {
	case x >= 100 || x == 0:
		return fmt.Sprintf("%.0f %s", x, unit)
	case x >= 10:
		return fmt.Sprintf("%.1f %s", x, unit)
	}
	return fmt.Sprintf("%.2f %s", x, unit)
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
