package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/child"
	"github.com/edition-push/edition/cmd/bench/internal/load"
)

// generator is a child that loads one server, with all its devices and
// publishers. Two of them let windows of load on two servers take turns, which
// one process could not: it may open too few files.
type generator struct{ *process }

// window is what a generator saw in one window of load.
type window struct {
	load.Result
	Quantiles []time.Duration // of PUT → device, as the table quantiles has them
}

// startGenerator starts the generator of a side. dir is our server's data
// folder.
func startGenerator(ctx context.Context, name string, s sizes, addr, dir string) (*generator, error) {
	p, err := startChild(ctx, "load of "+name, "load", name, addr, strconv.Itoa(s.Devices), strconv.Itoa(s.Publishers), dir)
	return &generator{p}, err
}

// connect dials all devices and returns how long that took.
func (g *generator) connect() (took time.Duration, err error) {
	return took, g.do(&took, "connect")
}

func (g *generator) disconnect() error { return g.do(nil, "disconnect") }

func (g *generator) closed(d time.Duration) (w window, err error) {
	return w, g.do(&w, "closed %v", d)
}

func (g *generator) open(rate int, d time.Duration) (w window, err error) {
	return w, g.do(&w, "open %v %d", d, rate)
}

func (g *generator) do(result any, format string, args ...any) error {
	answer, err := g.Do(fmt.Sprintf(format, args...))
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal([]byte(answer), result)
}

// generate is the generator's own process.
func generate(ctx context.Context, c *child.Control, args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	publishers, err := strconv.Atoi(args[3])
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	g := &generating{addr: args[1], publishers: publishers}
	if args[0] == sideBare {
		g.side = bareSide(n)
	} else {
		path, err := pathsOf(args[4])
		if err != nil {
			return err
		}
		g.side = ourSide(n, path)
	}
	c.Announce("ready", g.do)
	<-ctx.Done()
	if g.fleet != nil {
		g.fleet.Close()
	}
	return nil
}

// generating is a generator at work.
type generating struct {
	side       *side
	addr       string
	publishers int
	fleet      *load.Fleet // nil while nobody is connected
}

// dialAtOnce is how many devices connect at the same time.
const dialAtOnce = 64

func (g *generating) do(ctx context.Context, line string) (string, error) {
	words := strings.Fields(line)
	var d time.Duration
	if len(words) > 1 {
		var err error
		if d, err = time.ParseDuration(words[1]); err != nil {
			return "", err
		}
	}
	switch {
	case words[0] == "connect" && g.fleet == nil:
		g.fleet = load.NewFleet(g.side.targets)
		took, err := g.fleet.Connect(ctx, dialAtOnce, func(i int) (*load.Device, error) { return g.side.dial(g.addr, i) }, func() {})
		return answer(took, err)
	case g.fleet == nil:
		return "", fmt.Errorf("cannot %s now", words[0])
	case words[0] == "disconnect":
		g.fleet.Close()
		g.fleet = nil
		return answer(nil, nil)
	case words[0] == "closed":
		r, l, err := g.fleet.Closed(ctx, g.addr, g.publishers, d)
		return answer(newWindow(r, l), err)
	case words[0] == "open":
		rate, err := strconv.Atoi(words[2])
		if err != nil {
			return "", err
		}
		r, l, err := g.fleet.Open(ctx, g.addr, g.publishers, rate, d)
		return answer(newWindow(r, l), err)
	}
	return "", fmt.Errorf("unknown %q", words[0])
}

func newWindow(r load.Result, l *load.Latency) window {
	w := window{Result: r}
	for _, q := range quantiles {
		w.Quantiles = append(w.Quantiles, l.Quantile(q.q))
	}
	return w
}

func answer(v any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}
