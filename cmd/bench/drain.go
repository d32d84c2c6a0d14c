package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// drain measures how fast a relay takes what waits for it: sent by the
// upstream, durable at the relay, acknowledged as stored. The reference writes
// the same keys in the same order into bare bbolt, without any network.
func (r *run) drain(ctx context.Context, _ func(string) bool) error {
	n := r.sizes.Drain
	var ours, bares []float64
	for range r.sizes.DrainRounds {
		bare, err := r.writeBare(ctx, n)
		if err != nil {
			return err
		}
		took, err := r.drainRelay(ctx, n)
		if err != nil {
			return err
		}
		ours = append(ours, float64(n)/took.Seconds())
		bares = append(bares, float64(n)/bare.Seconds())
	}
	r.report.ratio("drain.rate", fmt.Sprintf("a relay drains %s events: sent, durable, acknowledged; beside a bare bbolt writer, %d a transaction", count(n), drainBatch), "/s", ours, bares, atLeast(0.5))
	return nil
}

// drainBatch is the size of the reference's transactions, and of an UPDATE.
const drainBatch = 1000

func (r *run) writeBare(ctx context.Context, n int) (time.Duration, error) {
	file := filepath.Join(r.dir, "drain-bare.db")
	defer os.Remove(file) //nolint:errcheck // temporary
	ph := r.progress.begin(fmt.Sprintf("bare bbolt: write %s keys", count(n)), 1)
	defer ph.finish("failed")
	p, err := startChild(ctx, "bare bbolt writer", "bare-write", file, strconv.Itoa(n))
	if err != nil {
		return 0, err
	}
	answer, err := p.Do(strconv.Itoa(drainBatch))
	if _, stopped := p.Stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return 0, err
	}
	took, err := time.ParseDuration(answer)
	ph.finish(fmt.Sprintf("%.0f/s", float64(n)/took.Seconds()))
	return took, err
}

func (r *run) drainRelay(ctx context.Context, n int) (took time.Duration, err error) {
	above, below := filepath.Join(r.dir, "drain-server"), filepath.Join(r.dir, "drain-relay")
	defer os.RemoveAll(above) //nolint:errcheck // temporary
	defer os.RemoveAll(below) //nolint:errcheck // temporary
	token, err := r.makeUpstream(ctx, above, n)
	if err != nil {
		return 0, err
	}
	if err := r.makeRelay(ctx, below, n); err != nil {
		return 0, err
	}
	server, err := startRole(ctx, "server", above, "--public-url", "http://bench", "--relay", relayName+"="+token)
	if err != nil {
		return 0, err
	}
	defer func() {
		if _, stopped := server.Stop(); err == nil {
			err = stopped
		}
	}()
	ph := r.progress.begin(fmt.Sprintf("edition: a relay drains %s events", count(n)), n)
	defer ph.finish("failed")
	relay, err := startRole(ctx, "relay", below, "--upstream", "http://"+server.addr, "--name", relayName, "--token-file", token)
	if err != nil {
		return 0, err
	}
	defer func() {
		if _, stopped := relay.Stop(); err == nil {
			err = stopped
		}
	}()
	defer r.profileOf(server, "drain server")()
	defer r.profileOf(relay, "drain relay")()
	took, err = acknowledged(ctx, server, n, ph)
	if err == nil {
		ph.finish(fmt.Sprintf("%.0f/s", float64(n)/took.Seconds()))
	}
	return took, err
}

// scrapeEvery is short beside a drain, and long beside what a scrape costs the
// server.
const scrapeEvery = 50 * time.Millisecond

// stuckTime ends a drain that no longer moves.
const stuckTime = time.Minute

// acknowledged waits until the server has acks for n events, and returns how
// long that took from when the relay was connected.
func acknowledged(ctx context.Context, server *process, n int, ph *phase) (time.Duration, error) {
	var start time.Time
	moved, last := time.Now(), 0
	for ctx.Err() == nil {
		m, err := scrape(ctx, server.admin)
		if err != nil {
			return 0, err
		}
		if start.IsZero() && m["edition_hub_connected"] > 0 {
			start = time.Now()
		}
		acked := int(m[`edition_hub_acks_total{result="cleared"}`])
		switch {
		case acked >= n && !start.IsZero():
			return time.Since(start), nil
		case acked > last:
			ph.add(acked - last)
			moved, last = time.Now(), acked
		case time.Since(moved) > stuckTime:
			return 0, fmt.Errorf("%d of %d events are acknowledged, and no more for %v", acked, n, stuckTime)
		}
		sleep(ctx, scrapeEvery)
	}
	return 0, context.Cause(ctx)
}

// scrape reads the metrics of a role, by name with labels.
func scrape(ctx context.Context, admin string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // the server has better things to do
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("metrics: " + resp.Status)
	}
	m := make(map[string]float64)
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 1<<20))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(name, "edition_") {
			m[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return m, lines.Err()
}
