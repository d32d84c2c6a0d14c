package bench

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/edition-push/edition/cmd/bench/internal/load"
	"github.com/edition-push/edition/wire"
)

// reconnect measures how long a relay waits from its hello for the first
// UPDATE, when it has few devices and when it has many. Everything is pending
// in both cases, so that both UPDATEs are as large as an UPDATE may be.
func (r *run) reconnect(ctx context.Context, _ func(string) bool) error {
	var servers [2]*process
	for i, n := range r.sizes.Reconnect {
		dir := filepath.Join(r.dir, "reconnect-"+count(n))
		token, err := r.makeUpstream(ctx, dir, n)
		if err != nil {
			return err
		}
		p, err := startRole(ctx, "server", dir, "--public-url", "http://bench", "--relay", relayName+"="+token)
		if err != nil {
			return err
		}
		defer p.Stop() //nolint:errcheck // it was only asked
		servers[i] = p
	}
	ph := r.progress.begin("edition: a relay reconnects", 2*r.sizes.ReconnectRounds)
	defer ph.finish("")
	var waits [2][]float64
	for range r.sizes.ReconnectRounds {
		for i, p := range servers {
			d, err := firstUpdate(p.addr)
			if err != nil {
				return fmt.Errorf("a relay with %d devices: %w", r.sizes.Reconnect[i], err)
			}
			waits[i] = append(waits[i], millis(d))
			ph.add(1)
		}
	}
	small, large := count(r.sizes.Reconnect[0]), count(r.sizes.Reconnect[1])
	// Medians first: single waits of both have nothing to do with each other.
	r.report.ratio("reconnect.hello", fmt.Sprintf("hello to first UPDATE, a relay with %s devices beside one with %s", large, small), "ms",
		[]float64{median(waits[1])}, []float64{median(waits[0])}, atMost(2))
	return nil
}

// firstUpdate connects as the relay and returns how long it took from the
// hello to the end of the first UPDATE.
func firstUpdate(addr string) (time.Duration, error) {
	d, err := load.DialDevice(addr, wire.PathWebSocket, wire.Subprotocol, http.Header{"Authorization": {"Bearer " + relayToken}})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	start := time.Now()
	if _, err := answered(d, fmt.Appendf(nil, `{"type":"hello","relay":"%s","store":"bench"}`, relayName), `"type":"hello","status":200`); err != nil {
		return 0, err
	}
	for {
		msg, err := d.Read()
		if err != nil {
			return 0, err
		}
		if strings.HasPrefix(string(msg), `{"type":"update"`) {
			return time.Since(start), nil
		}
	}
}
