package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/edition-push/edition/cmd/bench/internal/child"
)

// connection is one side of the scenario with connected devices: a server and
// its load generator, and what they showed. All slices are by round.
type connection struct {
	name string
	*process
	load *generator

	setup             []float64 // connections a second
	memory, collected []float64 // bytes a connection, as it stands and after a collection that was asked for
	heap, stacks      []float64 // bytes of memory that Go says it is
	idle              []float64 // milliseconds of CPU a second, of all connections together
	cpu, rate         []float64 // of closed loops: microseconds an event, events a second
	closed, open      [][]time.Duration
}

var quantiles = []struct {
	name  string
	q     float64
	limit *limit // of the open loop, as a ratio
}{{"p50", 0.5, nil}, {"p99", 0.99, atMost(2)}, {"p99.9", 0.999, nil}}

// connected measures the figures about connected devices. Both servers live at
// the same time, and windows of load on them take turns, so that what else the
// machine does meets both.
func (r *run) connected(ctx context.Context, want func(figure string) bool) (err error) {
	bare, err := r.openBare(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	ours, err := r.openOurs(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	sides := [2]*connection{bare, ours}

	for n := range r.sizes.Connects {
		for _, c := range sides {
			if err := r.connect(ctx, c, n); err != nil {
				return err
			}
		}
	}
	if want("connected") {
		if err := r.closedLoops(sides); err != nil {
			return err
		}
	}
	if want("latency") {
		if err := r.openLoops(sides); err != nil {
			return err
		}
	}
	r.reportConnected(ours, bare, want)
	return nil
}

func (r *run) openBare(ctx context.Context) (*connection, error) {
	p, err := startChild(ctx, "bare push server", "bare-push")
	if err != nil {
		return nil, err
	}
	return r.openSide(ctx, sideBare, p, "")
}

func (r *run) openOurs(ctx context.Context) (*connection, error) {
	dir := filepath.Join(r.dir, "connected")
	if err := r.makeServer(ctx, dir, r.sizes.Devices, devicesOf(keySpace(r.sizes.Devices))); err != nil {
		return nil, err
	}
	p, err := startRole(ctx, "server", dir, "--public-url", "http://bench")
	if err != nil {
		return nil, err
	}
	return r.openSide(ctx, sideOurs, p, dir)
}

func (r *run) openSide(ctx context.Context, name string, p *process, dir string) (*connection, error) {
	g, err := startGenerator(ctx, name, r.sizes, p.addr, dir)
	if err != nil {
		_, stopped := p.Stop()
		return nil, errors.Join(err, stopped)
	}
	return &connection{name: name, process: p, load: g}, nil
}

// stop ends the generator, so that devices leave, then the server.
func (c *connection) stop() error {
	_, err := c.load.Stop()
	_, stopped := c.Stop()
	return errors.Join(err, stopped)
}

// connect dials all devices. In the first round it measures what they cost
// while nothing happens; in all but the last they leave again.
func (r *run) connect(ctx context.Context, c *connection, n int) error {
	ph := r.progress.begin(fmt.Sprintf("%s: connect %d devices (%d)", c.name, r.sizes.Devices, n+1), 1)
	defer ph.finish("failed")
	if err := c.Settle(); err != nil {
		return err
	}
	before, err := c.Usage()
	if err != nil {
		return err
	}
	took, err := r.dial(c, n)
	if err != nil {
		return err
	}
	c.setup = append(c.setup, float64(r.sizes.Devices)/took.Seconds())
	if n == 0 {
		if err := r.idle(ctx, c, before); err != nil {
			return err
		}
	}
	if n < r.sizes.Connects-1 {
		if err := c.load.disconnect(); err != nil {
			return err
		}
		sleep(ctx, r.sizes.Settle) // the server notices
	}
	ph.finish(fmt.Sprintf("%.0f/s", c.setup[n]))
	return nil
}

func (r *run) dial(c *connection, n int) (time.Duration, error) {
	if n > 0 { // not while memory is measured
		defer r.profileOf(c.process, "connect "+c.name)()
	}
	return c.load.connect()
}

// idle measures what connections cost that have just been made, against the
// usage before.
func (r *run) idle(ctx context.Context, c *connection, before child.Usage) error {
	sleep(ctx, r.sizes.Settle)
	start, err := c.Usage()
	if err != nil {
		return err
	}
	sleep(ctx, r.sizes.Settle)
	end, err := c.Usage()
	if err != nil {
		return err
	}
	sleep(ctx, r.sizes.Rest)
	rested, err := c.Usage()
	if err != nil {
		return err
	}
	if err := c.Settle(); err != nil {
		return err
	}
	settled, err := c.Usage()
	if err != nil {
		return err
	}
	n := float64(r.sizes.Devices)
	c.idle = append(c.idle, millis(end.CPU-start.CPU)/r.sizes.Settle.Seconds())
	c.memory = append(c.memory, float64(rested.RSS-before.RSS)/n)
	c.collected = append(c.collected, float64(settled.RSS-before.RSS)/n)
	c.heap = append(c.heap, float64(int64(settled.Heap-before.Heap))/n)
	c.stacks = append(c.stacks, float64(int64(settled.Stacks-before.Stacks))/n)
	return nil
}

// closedLoops measures throughput, and server CPU an event.
func (r *run) closedLoops(sides [2]*connection) error {
	ph := r.progress.begin("PUT → UPDATE → ACK", 2*(r.sizes.Rounds+1))
	defer ph.finish("failed")
	for _, c := range sides {
		if _, err := c.load.closed(r.sizes.Warm); err != nil {
			return err
		}
		ph.add(1)
		defer r.profileOf(c.process, "connected "+c.name)()
	}
	for n := range r.sizes.Rounds {
		for i := range sides {
			c := sides[(n+i)%2] // the first one changes
			before, err := c.Usage()
			if err != nil {
				return err
			}
			w, err := c.load.closed(r.sizes.Closed)
			if err != nil {
				return err
			}
			after, err := c.Usage()
			if err != nil {
				return err
			}
			c.cpu = append(c.cpu, micros(after.CPU-before.CPU)/float64(w.Events))
			c.rate = append(c.rate, w.Rate())
			c.closed = append(c.closed, w.Quantiles)
			ph.add(1)
		}
	}
	ph.finish(fmt.Sprintf("%.0f/s, %.1f µs of server CPU each", median(sides[1].rate), median(sides[1].cpu)))
	return nil
}

// openLoops measures latency at a rate.
func (r *run) openLoops(sides [2]*connection) error {
	ph := r.progress.begin(fmt.Sprintf("PUT → device at %d PUT/s", r.sizes.Rate), 2*r.sizes.Rounds)
	defer ph.finish("failed")
	for n := range r.sizes.Rounds {
		for i := range sides {
			c := sides[(n+i)%2]
			w, err := c.load.open(r.sizes.Rate, r.sizes.Open)
			if err != nil {
				return err
			}
			c.open = append(c.open, w.Quantiles)
			ph.add(1)
		}
	}
	ph.finish("")
	return nil
}

func (r *run) reportConnected(ours, bare *connection, want func(string) bool) {
	at := fmt.Sprintf("%d connected, %d publishers", r.sizes.Devices, r.sizes.Publishers)
	rep := r.report
	if want("connected") {
		rep.ratio("connected.cpu", "server CPU an event, PUT → UPDATE → ACK, "+at, "µs", ours.cpu, bare.cpu, atMost(1.4))
		rep.ratio("connected.rate", "PUT → UPDATE → ACK a second, the load generator on the same cores", "/s", ours.rate, bare.rate, nil)
		for i, q := range quantiles {
			rep.ratio("connected."+q.name, "PUT → device at that rate, "+q.name, "ms", column(ours.closed, i), column(bare.closed, i), nil)
		}
	}
	if want("latency") {
		for i, q := range quantiles {
			rep.ratio("latency."+q.name, fmt.Sprintf("PUT → device at %d PUT/s, %s, %s", r.sizes.Rate, at, q.name), "ms", column(ours.open, i), column(bare.open, i), q.limit)
		}
	}
	if want("idle") {
		rep.number("idle.memory", fmt.Sprintf("resident memory an idle connection, %d connections, after %v of rest", r.sizes.Devices, 2*r.sizes.Settle+r.sizes.Rest), "KB", kilobytes(ours.memory), atMost(10))
		rep.ratio("idle.memory_bare", "the same beside the reference", "KB", kilobytes(ours.memory), kilobytes(bare.memory), nil)
		rep.ratio("idle.memory_collected", "the same after a garbage collection that was asked for", "KB", kilobytes(ours.collected), kilobytes(bare.collected), nil)
		rep.ratio("idle.heap", "of it live on the heap", "KB", kilobytes(ours.heap), kilobytes(bare.heap), nil)
		rep.ratio("idle.stacks", "of it stacks of goroutines", "KB", kilobytes(ours.stacks), kilobytes(bare.stacks), nil)
		rep.ratio("idle.setup", "connections set up a second: dial, upgrade, hello answered", "/s", ours.setup, bare.setup, atLeast(0.9))
		rep.info("idle.cpu", "CPU of all idle connections together, a second", "ms", ours.idle)
	}
}

// column returns one quantile of all rounds, in milliseconds.
func column(rounds [][]time.Duration, i int) (out []float64) {
	for _, q := range rounds {
		out = append(out, millis(q[i]))
	}
	return out
}

func kilobytes(bytes []float64) (out []float64) {
	for _, b := range bytes {
		out = append(out, b/1024)
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
