package bench

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/bare"
	"github.com/edition-push/edition/cmd/bench/internal/load"
)

// store is a store with so many pending keys, ours or a bare one.
type store struct {
	name  string
	keys  int
	start func(context.Context) (*process, error)
	path  func(edition.Key) []byte // of the PUT
	check bool                     // whether GET shows what is kept

	// Of each round.
	rate  []float64 // events a second
	cpu   []float64 // microseconds an event
	cost  []float64 // the same with the folds that the round leaves behind
	woken []float64 // milliseconds of CPU from ready until it rests
}

// stored measures PUTs to devices that are absent, so that every one of them
// waits for a sync. Each round goes through all the stores.
func (r *run) stored(ctx context.Context, _ func(string) bool) error {
	var ours, bares []*store
	small, large := r.sizes.Pending[0], r.sizes.Pending[len(r.sizes.Pending)-1]
	for _, n := range r.sizes.Pending {
		s, err := r.ourStore(ctx, n)
		if err != nil {
			return err
		}
		ours = append(ours, s)
	}
	for _, n := range []int{small, large} {
		s, err := r.bareStore(n)
		if err != nil {
			return err
		}
		bares = append(bares, s)
	}
	for n := range r.sizes.StoredRounds {
		all := append(append([]*store{}, bares...), ours...)
		if n%2 == 1 { // the first one changes, as the machine may
			all = append(append([]*store{}, ours...), bares...)
		}
		for _, s := range all {
			if err := r.storedRound(ctx, s, n); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	r.reportStored(ours, bares)
	return nil
}

func (r *run) storedRound(ctx context.Context, s *store, n int) error {
	p, err := s.start(ctx)
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			p.Stop() //nolint:errcheck // another error is on its way
		}
	}()
	used, err := rests(ctx, p)
	if err != nil {
		return err
	}
	s.woken = append(s.woken, millis(used))
	paths := sample(s, int(r.sizes.Warm.Seconds()+r.sizes.Stored.Seconds()+1)*maxRate)
	base := uint64(time.Now().UnixMicro())
	last := make([]int, r.sizes.Publishers)
	offset := 0
	next := func(publisher, i int) ([]byte, uint64) {
		last[publisher] = i + offset
		return paths.at(publisher + last[publisher]*r.sizes.Publishers), base + uint64(last[publisher])
	}
	label := fmt.Sprintf("%s: PUTs to absent devices (%d)", s.name, n+1)
	ph := r.progress.during(label, r.sizes.Warm+r.sizes.Stored)
	defer ph.finish("failed")
	if _, err := load.Closed(ctx, p.addr, r.sizes.Publishers, r.sizes.Warm, next); err != nil {
		return err
	}
	for _, i := range last {
		offset = max(offset, i+1)
	}
	end := r.profileOf(p, label)
	before, err := p.Usage()
	if err != nil {
		return err
	}
	done, err := load.Closed(ctx, p.addr, r.sizes.Publishers, r.sizes.Stored, next)
	if err != nil {
		return err
	}
	after, err := p.Usage()
	if err != nil {
		return err
	}
	end()
	if s.check {
		for publisher, i := range last {
			if err := checkKept(ctx, p.addr, paths.at(publisher+i*r.sizes.Publishers), base+uint64(i)); err != nil {
				return err
			}
		}
	}
	stopped = true
	whole, err := p.Stop()
	if err != nil {
		return err
	}
	s.rate = append(s.rate, done.Rate())
	s.cpu = append(s.cpu, micros(after.CPU-before.CPU)/float64(done.Events))
	s.cost = append(s.cost, micros(whole-before.CPU)/float64(done.Events))
	ph.finish(fmt.Sprintf("%.0f/s, %.1f µs of server CPU each", done.Rate(), s.cpu[n]))
	return nil
}

const (
	restEvery = 200 * time.Millisecond
	restCPU   = restEvery / 10
	restTime  = 3 * time.Minute
)

// rests waits until a server that was started has no more work of its own, and
// returns the CPU time that this took.
func rests(ctx context.Context, p *process) (time.Duration, error) {
	first, err := p.Usage()
	if err != nil {
		return 0, err
	}
	last := first
	for begin := time.Now(); time.Since(begin) < restTime; {
		sleep(ctx, restEvery)
		now, err := p.Usage()
		if err != nil {
			return 0, err
		}
		if now.CPU-last.CPU < restCPU {
			return now.CPU - first.CPU, nil
		}
		last = now
	}
	return 0, fmt.Errorf("the server does not rest within %v after its start", restTime)
}

func (r *run) reportStored(ours, bares []*store) {
	small, name := ours[0], func(s *store) string { return count(s.keys) }
	for _, s := range ours {
		if s.keys == bares[0].keys {
			r.report.ratio("stored.rate_"+name(s), fmt.Sprintf("synced PUTs a second to absent devices, %d publishers, %s keys pending", r.sizes.Publishers, name(s)), "/s", s.rate, bares[0].rate, atLeast(0.8))
			r.report.ratio("stored.cpu_"+name(s), "server CPU an event at "+name(s), "µs", s.cpu, bares[0].cpu, nil)
			continue
		}
		var l *limit
		if s.keys == bares[1].keys {
			l = atMost(1.5)
			r.report.ratio("stored.rate_"+name(s), "synced PUTs a second at "+name(s), "/s", s.rate, bares[1].rate, nil)
		} else {
			r.report.info("stored.rate_"+name(s), "synced PUTs a second at "+name(s), "/s", s.rate)
		}
		r.report.ratio("stored.cost_"+name(s), fmt.Sprintf("server CPU an event at %s keys, all folding included, beside that at %s", name(s), name(small)), "µs", s.cost, small.cost, l)
		r.report.info("stored.start_"+name(s), fmt.Sprintf("CPU after a start with %s pending keys, until the server rests: due kicks are looked for", name(s)), "ms", s.woken)
		r.report.ratio("stored.time_"+name(s), fmt.Sprintf("time an event at %s keys beside that at %s", name(s), name(small)), "µs", inverse(s.rate), inverse(small.rate), l)
	}
	if bares[1].keys != bares[0].keys {
		r.report.ratio("stored.bare_time_"+name(bares[1]), fmt.Sprintf("bare bbolt: time an event at %s keys beside that at %s", name(bares[1]), name(bares[0])), "µs", inverse(bares[1].rate), inverse(bares[0].rate), nil)
	}
}

// inverse turns rates into microseconds an event.
func inverse(rates []float64) (out []float64) {
	for _, x := range rates {
		out = append(out, 1e6/x)
	}
	return out
}

func (r *run) ourStore(ctx context.Context, n int) (*store, error) {
	dir := filepath.Join(r.dir, "stored-"+count(n))
	space := keySpace(n)
	err := r.makeServer(ctx, dir, n, func(i int) (edition.Agent, edition.Key, edition.Version) {
		return edition.Agent{UAID: space.at(i).UAID}, space.at(i), 1
	})
	if err != nil {
		return nil, err
	}
	path, err := pathsOf(dir)
	return &store{
		name: "edition, " + count(n) + " keys", keys: n, path: path, check: true,
		start: func(ctx context.Context) (*process, error) {
			return startRole(ctx, "server", dir, "--public-url", "http://bench")
		},
	}, err
}

func (r *run) bareStore(n int) (*store, error) {
	file := filepath.Join(r.dir, "bare-"+count(n)+".db")
	ph := r.progress.begin("make a bare store with "+count(n)+" keys", n)
	defer ph.finish("")
	return &store{
		name: "bare bbolt, " + count(n) + " keys", keys: n,
		start: func(ctx context.Context) (*process, error) {
			return startChild(ctx, "bare bbolt server", "bare-keep", file)
		},
		path: func(k edition.Key) []byte {
			return hex.AppendEncode(hex.AppendEncode([]byte(bare.PathPut), k.UAID[:]), k.AppID[:])
		},
	}, bare.Fill(file, n, func(i int) edition.Key { ph.add(1); return keySpace(n).at(i) })
}

// maxRate bounds how many different paths are made ready for a second.
const maxRate = 50_000

// pathList is a list of paths of the same length, in one piece of memory.
type pathList struct {
	bytes []byte
	size  int
}

func (l pathList) at(i int) []byte {
	from := i * l.size % len(l.bytes)
	return l.bytes[from : from+l.size : from+l.size]
}

// sample returns the paths of at most n keys of a store, in random order.
func sample(s *store, n int) pathList {
	space := keySpace(s.keys)
	var l pathList
	for _, i := range rand.Perm(s.keys)[:min(n, s.keys)] {
		path := s.path(space.at(i))
		if l.bytes == nil {
			l.size = len(path)
			l.bytes = make([]byte, 0, min(n, s.keys)*l.size)
		}
		l.bytes = append(l.bytes, path...)
	}
	return l
}

// checkKept asks an endpoint whether it knows a version that was kept.
func checkKept(ctx context.Context, addr string, path []byte, version uint64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+string(path), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var state struct {
		Version uint64 `json:"version"`
		State   string `json:"state"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
		return err
	}
	if state.Version < version || state.State != edition.StatePending {
		return fmt.Errorf("a PUT of %d was answered 2xx, but GET shows %d %s", version, state.Version, state.State)
	}
	return nil
}
