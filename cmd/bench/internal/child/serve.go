package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process has used.
type Usage struct {
	CPU        time.Duration `json:"cpu_ns"` // user and system, since its start
	RSS        int64         `json:"rss"`    // resident bytes now; 0 where the system does not tell
	Heap       uint64        `json:"heap"`   // live and dead bytes of Go's heap
	Stacks     uint64        `json:"stacks"`
	Goroutines int           `json:"goroutines"`
}

// Control is a child's end of the pipe to its parent.
type Control struct {
	out *os.File
	// do answers the parent's Do; nil when this child cannot.
	do func(ctx context.Context, arg string) (string, error)
	up chan struct{}
}

// Serve runs f as a child: until f returns, or the parent closes the child's
// standard input or ends, which ends f's context.
func Serve(ctx context.Context, f func(context.Context, *Control) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &Control{out: os.NewFile(3, "control"), up: make(chan struct{})}
	if c.out == nil {
		return errors.New("this command is only run by edition bench itself")
	}
	go func() {
		defer cancel()
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			c.obey(ctx, in.Text())
		}
	}()
	if err := f(ctx, c); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// Announce tells the parent where the child can be reached. do, which may be
// nil, answers the parent's Do.
func (c *Control) Announce(addr string, do func(ctx context.Context, arg string) (string, error)) {
	c.do = do
	c.say(addr)
	close(c.up)
}

func (c *Control) say(line string) {
	fmt.Fprintln(c.out, line) //nolint:errcheck // the parent is gone: standard input says so too
}

// obey runs one command of the parent.
func (c *Control) obey(ctx context.Context, line string) {
	answer := "ok"
	var err error
	switch command, arg, _ := strings.Cut(line, " "); command {
	case "usage":
		var u Usage
		if u, err = usage(); err == nil {
			var b []byte
			b, err = json.Marshal(u)
			answer = string(b)
		}
	case "settle":
		debug.FreeOSMemory()
		debug.FreeOSMemory() // what finalizers let go of
	case "profile":
		err = profile(arg)
	case "do":
		select {
		case <-c.up:
		case <-ctx.Done():
		}
		if c.do == nil {
			err = errors.New("nothing to do")
			break
		}
		answer, err = c.do(ctx, arg)
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		answer = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	c.say(answer)
}

// profile starts a CPU profile into a file, or ends the one that runs when
// path is empty. The file is closed when the process ends.
func profile(path string) error {
	if path == "" {
		pprof.StopCPUProfile()
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func usage() (Usage, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return Usage{}, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{
		CPU:        time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		RSS:        resident(),
		Heap:       m.HeapAlloc,
		Stacks:     m.StackInuse,
		Goroutines: runtime.NumGoroutine(),
	}, nil
}

// resident reads the exact resident size from Linux; the counters of statm lag
// behind by some pages a CPU.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Rss:")); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(rest)), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}
