package serve

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// A process that holds connections has a small heap and many stacks, so that
// Go's collector would run often and find little. While there is work it gets
// more headroom (gcPercent); when there is none, what the work has left is
// given back, so that an idle connection costs what it needs and no more.
const (
	gcPercent   = 200
	trimEvery   = time.Second
	calmBytes   = 4 << 20  // allocated in a second: there is no work
	littleWaste = 16 << 20 // not worth a collection
)

// TuneProcess does so for the whole process, which belongs to one role, until
// ctx ends or stop is called. GOGC or GOMEMLIMIT in the environment mean that
// the operator decides. It also makes the process survive a limit on the size
// of files.
func TuneProcess(ctx context.Context) (stop func()) {
	surviveFileLimit()
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(gcPercent)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { trimWhenCalm(ctx) })
	return func() {
		cancel()
		wg.Wait()
		debug.SetGCPercent(before)
	}
}

func trimWhenCalm(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	t := trimmer{read: readMemory}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if t.wants() {
				debug.FreeOSMemory()
				t.done()
			}
		}
	}
}

// memory is what the runtime says of the heap, in bytes.
type memory struct {
	allocated uint64 // ever
	held      uint64 // mapped and not given back
	live      uint64 // found by the last collection
}

// trimmer decides when memory is given back.
type trimmer struct {
	read func() memory

	last    memory
	trimmed uint64 // allocated, when it was last done
}

// wants reports whether there was no work in the last second, and enough
// before it that a collection is worth its while.
func (t *trimmer) wants() bool {
	m := t.read()
	calm := m.allocated-t.last.allocated < calmBytes
	t.last = m
	return calm && m.allocated-t.trimmed > littleWaste && m.held > m.live+littleWaste
}

func (t *trimmer) done() {
	t.last = t.read()
	t.trimmed = t.last.allocated
}

func readMemory() memory {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s)
	n := make([]uint64, len(s))
	for i := range s {
		if s[i].Value.Kind() == metrics.KindUint64 {
			n[i] = s[i].Value.Uint64()
		}
	}
	return memory{allocated: n[0], held: n[1] + n[2] + n[3], live: n[4]}
}
