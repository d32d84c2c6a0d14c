package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/child"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/store/bolt"
)

// afterRestart is what became of all kicks that were due when a node started.
type afterRestart struct {
	Sent int           `json:"sent"`
	Took time.Duration `json:"took_ns"` // from the start to the last
	Heap uint64        `json:"heap"`    // greatest live heap on the way, in bytes
}

// restart measures what a node does that comes back with a store full of
// devices to be kicked: whether it finds all of them, how near it comes to the
// rate that is configured, and whether it needs more memory for more of them.
func (r *run) restart(ctx context.Context) error {
	small, large := r.sizes.Restart[0], r.sizes.Restart[1]
	var got [2]afterRestart
	for i, n := range r.sizes.Restart {
		file, err := r.dueKicks(ctx, n)
		if err != nil {
			return err
		}
		if got[i], err = r.restartWith(ctx, file, n); err != nil {
			return err
		}
	}
	few, many := got[0], got[1]
	rate := restartRate(small)
	r.report.number("kicks.found", fmt.Sprintf("due kicks found in the store after a restart and sent, of %s", count(large)), "", []float64{float64(many.Sent)}, atLeast(float64(large)))
	r.report.ratio("kicks.spread", "these a second, beside the rate that is configured", "/s",
		[]float64{float64(large) / many.Took.Seconds()}, []float64{rate}, atLeast(0.9))
	r.report.ratio("kicks.heap", fmt.Sprintf("live heap meanwhile, with %s due beside %s", count(large), count(small)), "MB",
		[]float64{float64(many.Heap) / 1e6}, []float64{float64(few.Heap) / 1e6}, atMost(1.5))
	return nil
}

func (r *run) restartWith(ctx context.Context, file string, n int) (got afterRestart, err error) {
	p, err := startChild(ctx, "restart", "restart", file, strconv.Itoa(n), strconv.Itoa(r.sizes.Restart[0]))
	if err != nil {
		return got, err
	}
	defer p.Stop() //nolint:errcheck // it was only asked
	ph := r.progress.during(fmt.Sprintf("a restart with %s kicks due", count(n)), time.Duration(float64(n)/restartRate(r.sizes.Restart[0])*float64(time.Second)))
	defer ph.finish("failed")
	defer r.profileOf(p, "restart "+count(n))()
	answer, err := p.Do("go")
	if err == nil {
		err = json.Unmarshal([]byte(answer), &got)
	}
	if err != nil {
		return got, err
	}
	ph.finish(fmt.Sprintf("%.0f/s", float64(got.Sent)/got.Took.Seconds()))
	return got, nil
}

// restartRate is the rate that is configured: half of what the dispatcher may
// hold has its turn in a second.
func restartRate(small int) float64 { return float64(small) / 2 }

// dueKicks makes a store with n devices, each with a route and something
// pending.
func (r *run) dueKicks(ctx context.Context, n int) (file string, err error) {
	dir := filepath.Join(r.dir, "restart-"+count(n))
	space := keySpace(n)
	err = r.makeServer(ctx, dir, n, func(i int) (edition.Agent, edition.Key, edition.Version) {
		addr := kickAddr(i, restartPort)
		route := edition.Route{Driver: "udp", Target: fmt.Appendf(nil, `{"ip":"%s","port":%d,"proto":"udp","own":true}`, addr.Addr(), addr.Port())}
		return edition.Agent{UAID: space.at(i).UAID, Routes: edition.Routes{route}}, space.at(i), 1
	})
	return configs.Node{Data: dir}.DataFile(configs.RoleServer), err
}

// restartPort is the port of all devices: discard (RFC 863), where nobody has
// to listen for a datagram to be sent.
const restartPort = 9

// restartOnce is the child that starts over such a store when it is told to.
func restartOnce(ctx context.Context, c *child.Control, args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	small, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	c.Announce("ready", func(ctx context.Context, _ string) (string, error) {
		got, err := kickAllDue(ctx, args[0], n, small)
		if err != nil {
			return "", err
		}
		answer, err := json.Marshal(got)
		return string(answer), err
	})
	<-ctx.Done()
	return nil
}

// kickAllDue is a node without its doors: a store, a hub that searches it, and
// the dispatcher with room for so many.
func kickAllDue(ctx context.Context, file string, n, room int) (got afterRestart, err error) {
	s, err := bolt.Open(bolt.Options{Path: file})
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	entry := kickEntry(n)
	entry["rate"], entry["max_waiting"], entry["min_interval"], entry["target_rate"] = restartRate(room), room, "500ms", 0
	entry["networks"] = []any{map[string]any{"name": "loopback", "cidrs": []any{"127.0.0.0/8"}, "ports": strconv.Itoa(restartPort)}}
	delete(entry, "target_counters")
	entries, err := kickdrivers.Decode([]map[string]any{entry})
	if err != nil {
		return got, err
	}
	var h *hub.Hub
	reg := prometheus.NewRegistry()
	d, err := kickdrivers.New(kickdrivers.Options{
		Entries: entries, Metrics: reg, Routes: s.Routes,
		StillDue: func(who edition.Holder) bool { return h.StillDue(who) },
	})
	if err != nil {
		return got, err
	}
	h = hub.New(hub.Options{Store: s, Kick: d})
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 3)
	for _, run := range []func(context.Context) error{s.Run, h.Run, d.Run} {
		go func() { ended <- run(ctx) }()
	}
	got, err = watchKicks(ctx, reg, start, n, room)
	cancel()
	return got, errors.Join(err, <-ended, <-ended, <-ended)
}

// watchKicks waits until n kicks were sent, and looks at the heap ten times on
// the way.
func watchKicks(ctx context.Context, reg *prometheus.Registry, start time.Time, n, room int) (got afterRestart, err error) {
	const looks = 10
	next := n / looks
	limit := time.Minute + 3*time.Duration(float64(n)/restartRate(room)*float64(time.Second))
	for deadline := start.Add(limit); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		got.Sent = sent(reg)
		if got.Sent >= next {
			got.Took = time.Since(start)
			next += n / looks
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			got.Heap = max(got.Heap, m.HeapAlloc)
		}
		if got.Sent >= n {
			return got, nil
		}
	}
	return got, fmt.Errorf("%d of %d kicks were sent in %v", got.Sent, n, limit)
}
