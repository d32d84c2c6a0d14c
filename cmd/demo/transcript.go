package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// transcript prints what happens, in the order in which it is told.
type transcript struct {
	start time.Time

	mu  sync.Mutex // guards out
	out io.Writer
}

func newTranscript(out io.Writer) *transcript {
	return &transcript{start: time.Now(), out: out}
}

// text prints a line as it is.
func (t *transcript) text(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...) //nolint:errcheck // nobody is left to be told
}

// step prints a line with its time and who did it.
func (t *transcript) step(who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%8.3f  %-7s %s\n", time.Since(t.start).Seconds(), who, fmt.Sprintf(format, args...)) //nolint:errcheck // the same
}
