package bench

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress shows what is being done: bars on a terminal, else a line a phase.
type progress struct {
	out  io.Writer
	bars *mpb.Progress // nil where there is no terminal
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return p
}

// phase is one part of the work. Add may be called from many goroutines.
type phase struct {
	progress *progress
	name     string
	start    time.Time
	bar      *mpb.Bar // nil where there is no terminal
	total    int64
	done     atomic.Int64
	shown    atomic.Int64 // what the bar has been told
	stop     chan struct{}
	once     sync.Once
}

// begin starts a phase of total steps.
func (p *progress) begin(name string, total int) *phase {
	ph := &phase{progress: p, name: name, start: time.Now(), total: int64(total), stop: make(chan struct{})}
	if p.bars != nil {
		ph.bar = p.bars.AddBar(ph.total, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), decor.Name("  "), decor.Elapsed(decor.ET_STYLE_MMSS)))
	}
	return ph
}

// during starts a phase that lasts a known time, and needs no steps.
func (p *progress) during(name string, d time.Duration) *phase {
	const step = 100 * time.Millisecond
	ph := p.begin(name, max(1, int(d/step)))
	go func() {
		t := time.NewTicker(step)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				ph.add(1)
			case <-ph.stop:
				return
			}
		}
	}()
	return ph
}

// add says that n steps are done. It is cheap enough for every event.
func (ph *phase) add(n int) {
	done := min(ph.done.Add(int64(n)), ph.total-1) // the end is said by finish
	if ph.bar == nil || (done-ph.shown.Load())*200 < ph.total {
		return
	}
	ph.shown.Store(done)
	ph.bar.SetCurrent(done)
}

// finish ends the phase; where there are no bars it prints its line. Only the
// first call counts, so that a deferred one serves for phases that failed.
func (ph *phase) finish(result string) {
	ph.once.Do(func() {
		close(ph.stop)
		if ph.bar != nil {
			ph.bar.SetCurrent(ph.total)
			ph.bar.Wait()
			return
		}
		fmt.Fprintf(ph.progress.out, "%-44s %6.1fs  %s\n", ph.name, time.Since(ph.start).Seconds(), result) //nolint:errcheck // progress
	})
}

// wait lets the bars be drawn for the last time.
func (p *progress) wait() {
	if p.bars != nil {
		p.bars.Wait()
	}
}
