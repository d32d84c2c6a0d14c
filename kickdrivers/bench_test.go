package kickdrivers_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

// BenchmarkUDP sends one kick to each of b.N sleeping devices, at addresses of
// their own, and compares that with a bare loop of sends to the same addresses
// in the same run.
func BenchmarkUDP(b *testing.B) {
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	port := uint16(sink.LocalAddr().(*net.UDPAddr).Port)
	to := make([]netip.AddrPort, b.N)
	routes := make([]edition.Routes, b.N)
	for i := range to {
		to[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(1 + i%254)}), port)
		routes[i] = edition.Routes{{Driver: "udp", Target: json.RawMessage(fmt.Sprintf(`{"ip":"%s","port":%d,"proto":"udp","own":true}`, to[i].Addr(), port))}}
	}
	bare := bareLoop(b, to)
	full, reg := dispatched(b, routes)
	b.ReportMetric(float64(b.N)/full.Seconds(), "kicks/s")
	b.ReportMetric(float64(b.N)/bare.Seconds(), "bare/s")
	b.ReportMetric(bare.Seconds()/full.Seconds(), "ratio")
	if n := counted(b, reg, "sent"); n != b.N {
		b.Errorf("%d of %d kicks were sent", n, b.N)
	}
}

func bareLoop(b *testing.B, to []netip.AddrPort) time.Duration {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	start := time.Now()
	var buf []byte
	for _, a := range to {
		buf = a.AppendTo(append(buf[:0], "NOTIFY "...))
		if _, err := c.WriteToUDPAddrPort(buf, a); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

func dispatched(b *testing.B, routes []edition.Routes) (time.Duration, *prometheus.Registry) {
	entries, err := kickdrivers.Decode([]map[string]any{{
		"driver": "udp", "rate": 0, "grace": "0s", "retry_min": "1h", "retry_max": "1h", "max_waiting": max(1, len(routes)),
		"target_counters": 1 << 22,
		"networks":        []any{map[string]any{"cidrs": []any{"127.0.0.0/8"}}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	left, done := len(routes), make(chan struct{})
	d, err := kickdrivers.New(kickdrivers.Options{
		Entries: entries, Metrics: reg,
		Routes: func(who edition.Holder) (edition.Routes, error) {
			return routes[binary.BigEndian.Uint32(who.UAID[:])], nil
		},
		StillDue: func(edition.Holder) bool {
			if left--; left == 0 { // Run asks from one goroutine
				close(done)
			}
			return true
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	b.ResetTimer()
	start := time.Now()
	go func() { ended <- d.Run(ctx) }()
	for i := range routes {
		var who edition.Holder
		binary.BigEndian.PutUint32(who.UAID[:], uint32(i))
		if !d.Due(who) {
			b.Fatal("full")
		}
	}
	<-done
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	return time.Since(start), reg
}

// counted adds up what all entries count of an outcome.
func counted(tb testing.TB, reg *prometheus.Registry, outcome string) (n int) {
	return countedBy(tb, reg, "", outcome)
}

// countedBy is counted for one entry.
func countedBy(tb testing.TB, reg *prometheus.Registry, entry, outcome string) (n int) {
	families, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "edition_kickdrivers_kicks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			l := m.GetLabel() // in the order of their names
			if l[1].GetValue() == outcome && (entry == "" || l[0].GetValue() == entry) {
				n += int(m.GetCounter().GetValue())
			}
		}
	}
	return n
}
