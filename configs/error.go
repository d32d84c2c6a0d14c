package configs

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/edition-push/edition"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Line int    // of the file; 0 when the file does not say it
	Text string // begins with the key path, if it has one
}

// String returns the text with its line.
func (f Fault) String() string {
	if f.Line == 0 {
		return f.Text
	}
	return fmt.Sprintf("line %d: %s", f.Line, f.Text)
}

// Error is a configuration that cannot be used. It wraps edition.ErrConfig.
type Error struct {
	File   string  // may be empty
	Faults []Fault // in the order of the file; those that it does not say come last
}

// newError returns nil when there is no fault.
func newError(src Source, where lines, texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	e := &Error{File: src.File}
	for _, text := range texts {
		e.Faults = append(e.Faults, Fault{Line: where.of(text), Text: text})
	}
	last := func(f Fault) int { return cmp.Or(f.Line, math.MaxInt) }
	slices.SortStableFunc(e.Faults, func(a, b Fault) int { return cmp.Compare(last(a), last(b)) })
	return e
}

// Error lists the faults, a line each.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(edition.ErrConfig.Error())
	if e.File != "" {
		fmt.Fprintf(&b, " %s", e.File)
	}
	if len(e.Faults) == 1 {
		return b.String() + ": " + e.Faults[0].String()
	}
	fmt.Fprintf(&b, ": %d faults", len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n  " + strings.ReplaceAll(f.String(), "\n", "\n    "))
	}
	return b.String()
}

func (e *Error) Unwrap() error { return edition.ErrConfig }
