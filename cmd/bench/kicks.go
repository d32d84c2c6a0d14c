package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/bench/internal/bare"
	"github.com/edition-push/edition/cmd/bench/internal/child"
	"github.com/edition-push/edition/kickdrivers"
)

// kicks measures how many datagrams a second the dispatcher and the udp driver
// send to devices that are all due at once, beside a bare loop that sends the
// same payloads to the same addresses in batches; and how a node spreads the
// kicks that it finds in its store.
func (r *run) kicks(ctx context.Context, _ func(string) bool) error {
	n := r.sizes.Kicks
	p, err := startChild(ctx, "kicks", "kicks", strconv.Itoa(n))
	if err != nil {
		return err
	}
	defer p.Stop() //nolint:errcheck // it was only asked
	rates := map[string][]float64{}
	ph := r.progress.begin(fmt.Sprintf("%s UDP kicks at once", count(n)), 2*r.sizes.KickRounds)
	defer ph.finish("failed")
	defer r.profileOf(p, "kicks")()
	for range r.sizes.KickRounds {
		for _, side := range []string{"bare", "edition"} {
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
	ph.finish(fmt.Sprintf("%.0f/s", median(rates["edition"])))
	r.report.ratio("kicks.rate", fmt.Sprintf("UDP kicks a second, %s devices due at once, beside a bare WriteBatch loop", count(n)), "/s", rates["edition"], rates["bare"], atLeast(0.8))
	if err := r.pushes(ctx); err != nil {
		return err
	}
	return r.restart(ctx)
}

// kickRounds is the child that does both sides' rounds when it is told to.
func kickRounds(ctx context.Context, c *child.Control, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("%w: %w", edition.ErrUsage, err)
	}
	// The devices' socket: on every address of 127.0.0.0/8, so that each
	// device has its own. Nobody reads it; what it cannot hold is dropped.
	sink, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	defer sink.Close() //nolint:errcheck // nothing is lost
	port := sink.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	c.Announce("ready", func(ctx context.Context, side string) (string, error) {
		var took time.Duration
		var err error
		if side == "bare" {
			took, err = bareKicks(n, port)
		} else {
			took, err = ourKicks(ctx, n, port)
		}
		return took.Round(time.Microsecond).String(), err
	})
	<-ctx.Done()
	return nil
}

// kickAddr is the address of device i, 0 ≤ i < 2²⁴ − 256.
func kickAddr(i int, port uint16) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 127<<24|uint32(i+1))
	return netip.AddrPortFrom(netip.AddrFrom4(a), port)
}

func bareKicks(n int, port uint16) (time.Duration, error) {
	payloads := make([][]byte, n)
	for i := range payloads {
		payloads[i] = fmt.Appendf(nil, "NOTIFY %s", kickAddr(i, port))
	}
	return bare.Send(n, func(i int) netip.AddrPort { return kickAddr(i, port) }, func(i int) []byte { return payloads[i] })
}

// kickEntry has the product's driver with its rate unlimited, and with a budget
// for each target that has room for n of them, as the driver's README has it.
func kickEntry(n int) map[string]any {
	return map[string]any{
		"name": "udp", "driver": "udp", "grace": "0s", "rate": 0, "max_waiting": 1 << 24,
		"retry_min": "1h", "retry_max": "1h", "target_counters": max(1<<16, 10*n),
		"networks": []any{map[string]any{"name": "loopback", "cidrs": []any{"127.0.0.0/8"}, "any_address": true}},
	}
}

func ourKicks(ctx context.Context, n int, port uint16) (time.Duration, error) {
	return throughDispatcher(ctx, kickEntry(n), n, func(i int) (json.RawMessage, netip.Addr) {
		addr := kickAddr(i, port)
		return fmt.Appendf(nil, `{"driver":"udp","ip":"%s","port":%d}`, addr.Addr(), port), addr.Addr()
	})
}

// throughDispatcher has a dispatcher with one entry kick n devices that are
// all due at once, and returns how long that takes. target says what device i
// registers, and from where.
func throughDispatcher(ctx context.Context, entry map[string]any, n int, target func(i int) (json.RawMessage, netip.Addr)) (time.Duration, error) {
	entries, err := kickdrivers.Decode([]map[string]any{entry})
	if err != nil {
		return 0, err
	}
	routes := make([]edition.Routes, n)
	reg := prometheus.NewRegistry()
	var asked atomic.Int64
	d, err := kickdrivers.New(kickdrivers.Options{
		Entries: entries, Metrics: reg,
		Routes:   func(h edition.Holder) (edition.Routes, error) { return routes[deviceNumber(h)], nil },
		StillDue: func(edition.Holder) bool { asked.Add(1); return true },
	})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() { cancel(); <-ended }() //nolint:errcheck // always nil
	for i := range routes {
		raw, from := target(i)
		if routes[i], err = d.Check(raw, from, 512); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	for i := range n {
		if !d.Due(numbered(i)) {
			return 0, errors.New("the dispatcher is full")
		}
	}
	for deadline := start.Add(time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; {
		if asked.Load() >= int64(n) && sent(reg) == n {
			return time.Since(start), nil
		}
		time.Sleep(time.Millisecond)
	}
	return 0, fmt.Errorf("%d of %d kicks were sent", sent(reg), n)
}

// numbered is the holder of device i, deviceNumber its inverse.
func numbered(i int) (h edition.Holder) {
	binary.BigEndian.PutUint32(h.UAID[:], uint32(i))
	return h
}

func deviceNumber(h edition.Holder) int { return int(binary.BigEndian.Uint32(h.UAID[:])) }

// sent reads how many kicks the driver has sent.
func sent(reg *prometheus.Registry) int {
	families, err := reg.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() != "edition_kickdrivers_kicks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == kickdrivers.Sent.String() {
					return int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return 0
}
