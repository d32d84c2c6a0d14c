package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/bare"
	"github.com/edition-push/edition/cmd/bench/internal/child"
	"github.com/edition-push/edition/kickdrivers/apns"
	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

// pushes measures how many pushes a second the dispatcher and the driver apns
// make to devices that are all due at once, beside a bare HTTP/2 client that
// makes the same requests to the same server over as many connections.
func (r *run) pushes(ctx context.Context) error {
	n := r.sizes.Pushes
	sim, err := startChild(ctx, "the APNs simulator", "apns-sim", r.dir)
	if err != nil {
		return err
	}
	defer sim.Stop() //nolint:errcheck // it was only asked
	p, err := startChild(ctx, "pushes", "pushes", sim.addr, r.dir, strconv.Itoa(n))
	if err != nil {
		return err
	}
	defer p.Stop() //nolint:errcheck // it was only asked
	ph := r.progress.begin(fmt.Sprintf("%s pushes at once", count(n)), 2*r.sizes.PushRounds)
	defer ph.finish("failed")
	defer r.profileOf(p, "pushes")()
	rates := map[string][]float64{}
	for round := range r.sizes.PushRounds {
		sides := []string{sideBare, sideOurs}
		if round%2 == 1 { // who comes second finds the machine warmer
			sides = []string{sideOurs, sideBare}
		}
		for _, side := range sides {
			answer, err := p.Do(side)
			if err != nil {
				return err
			}
			took, err := time.ParseDuration(answer)
			if err != nil {
				return err
			}
			rates[side] = append(rates[side], float64(n)/took.Seconds())
			ph.add(1)
		}
	}
	ph.finish(fmt.Sprintf("%.0f/s", median(rates[sideOurs])))
	r.report.ratio("kicks.apns", fmt.Sprintf("APNs pushes a second, %s devices due at once, beside a bare HTTP/2 client", count(n)), "/s", rates[sideOurs], rates[sideBare], atLeast(0.9))
	return nil
}

// apnsSim is the child that both sides push to. It writes what a sender needs
// into a folder.
func apnsSim(ctx context.Context, c *child.Control, args []string) error {
	s, err := apnssim.Start(apnssim.Options{})
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // it has served
	if err := s.WriteFiles(args[0]); err != nil {
		return err
	}
	c.Announce(s.Addr(), nil)
	<-ctx.Done()
	return nil
}

// pushRounds is the child that does both sides' rounds when it is told to.
func pushRounds(ctx context.Context, c *child.Control, args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	conf := apns.DefaultConfig()
	b := bare.Apple{
		Addr: args[0], CAFile: filepath.Join(args[1], simtls.CAFile),
		KeyFile: filepath.Join(args[1], apnssim.KeyFile), KeyID: apnssim.KeyID, TeamID: apnssim.TeamID, Topic: apnssim.Topic,
		Connections: conf.Connections, Parallel: conf.ParallelRequests,
	}
	entry := map[string]any{
		"name": "apns", "driver": "apns", "grace": "0s", "rate": 0, "max_waiting": 1 << 24, "retry_min": "1h", "retry_max": "1h",
		"host": "https://" + b.Addr, "topics": []any{b.Topic}, "tls": map[string]any{"ca_file": b.CAFile},
		"token_key": map[string]any{"file": b.KeyFile}, "key_id": b.KeyID, "team_id": b.TeamID,
	}
	c.Announce("ready", func(ctx context.Context, side string) (string, error) {
		var took time.Duration
		var err error
		if side == sideBare {
			took, err = b.Push(ctx, n, pushToken)
		} else {
			took, err = throughDispatcher(ctx, entry, n, func(i int) (json.RawMessage, netip.Addr) {
				return fmt.Appendf(nil, `{"driver":"apns","token":"%s"}`, pushToken(i)), netip.Addr{}
			})
		}
		return took.Round(time.Microsecond).String(), err
	})
	<-ctx.Done()
	return nil
}

// pushToken is the token of device i.
func pushToken(i int) string { return fmt.Sprintf("%064x", i) }
