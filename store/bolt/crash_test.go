package bolt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// TestAbort ends a store without its last commit and fold, and opens the file
// again: everything that a receipt or a call had promised is there.
func TestAbort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edition.db")
	s, err := Open(Options{Path: path, MemoryRows: 64, JournalBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	abort := start(t, s)
	ctx := t.Context()
	relay, err := s.Relay(ctx, "r", "1")
	if err != nil {
		t.Fatal(err)
	}
	proof := edition.Proof{9}
	var keys []edition.Key
	want := map[edition.Key]edition.Version{}
	for i := range 300 {
		k := benchKey(i)
		if err := s.Register(ctx, edition.Registration{Key: k, Proof: proof, Upstream: "up"}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		want[k] = edition.Version(i)
	}
	for k, v := range want {
		if _, err := s.Deliver(edition.Update{{Key: k, Version: v}}, edition.Delivery{}).Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Bind(ctx, edition.Agent{UAID: keys[0].UAID, Proof: proof, Owner: relay}); err != nil {
		t.Fatal(err)
	}
	if err := s.Unregister(ctx, keys[1]); err != nil {
		t.Fatal(err)
	}
	add := func(edition.Routes) edition.Routes {
		return edition.Routes{{Driver: "udp", Target: []byte(`{}`)}, {Driver: "fcm"}, {Driver: "sms", Target: []byte(`1`), Confirm: "CODE"}}
	}
	if err := s.ChangeRoutes(ctx, edition.Holder{UAID: keys[2].UAID}, add); err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	abort()

	s, _ = run(t, Options{Path: path})
	if s.ID() != id {
		t.Error("another id")
	}
	if again, err := s.Relay(ctx, "r", "1"); err != nil || again != relay {
		t.Error("relay", again, err)
	}
	if _, err := s.State(keys[1]); err == nil {
		t.Error("the unregistered app is back")
	}
	delete(want, keys[1])
	for k, v := range want {
		owner := edition.Direct
		if k == keys[0] {
			owner = relay
		}
		u, err := s.Pending(nil, owner, k.UAID)
		if err != nil || len(u) != 1 || u[0].Version != v {
			t.Errorf("%v: pending %v %v, want %d", k.UAID, u, err, v)
		}
	}
	if a, err := s.Agent(keys[2].UAID); err != nil || !slices.EqualFunc(a.Routes, add(nil), sameRoute) || a.Proof != proof || a.Upstream != "up" {
		t.Error(a, err)
	}
}

func sameRoute(a, b edition.Route) bool {
	return a.Same(b) && a.Confirm == b.Confirm && a.Usable() == b.Usable()
}

// TestClearsReachTheDisk waits for the clear of an event that was on disk.
func TestClearsReachTheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edition.db")
	s, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	abort := start(t, s)
	k := benchKey(1)
	if err := s.Register(t.Context(), edition.Registration{Key: k, Upstream: "up"}); err != nil {
		t.Fatal(err)
	}
	u := edition.Update{{Key: k, Version: 3}}
	if _, err := s.Deliver(u, edition.Delivery{}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Sent(edition.Direct, u)                      // the state is checked
	s.Ack(edition.Direct, u, edition.AckDelivered) // the state is checked
	for pending := true; pending; time.Sleep(10 * time.Millisecond) {
		s.shards[shardOf(k.UAID)].mu.Lock()
		x, _ := s.shards[shardOf(k.UAID)].find(k)
		r := x.row()
		s.shards[shardOf(k.UAID)].mu.Unlock()
		pending = r.is(mustJournal | isWriting | isKept)
	}
	abort()
	s, _ = run(t, Options{Path: path})
	if st, err := s.State(k); err != nil || st.State != edition.StateDelivered || st.Version != 3 {
		t.Error(st, err)
	}
	if reports, err := s.Reports(nil, "up", edition.Key{}, 10); err != nil || len(reports) != 1 {
		t.Error("the report was lost:", reports, err)
	}
}

// TestOvertakenIsNeverWritten acknowledges events within their grace.
func TestOvertakenIsNeverWritten(t *testing.T) {
	s, stop := run(t, Options{})
	k := benchKey(1)
	if err := s.Register(t.Context(), edition.Registration{Key: k}); err != nil {
		t.Fatal(err)
	}
	records := counter(t, s.metrics.records)
	for v := edition.Version(1); v <= 100; v++ {
		u := edition.Update{{Key: k, Version: v}}
		r := s.Deliver(u, edition.Delivery{Grace: time.Hour})
		s.Sent(edition.Direct, u)                      // the outcome is checked
		s.Ack(edition.Direct, u, edition.AckDelivered) // the outcome is checked
		if rs, err := r.Wait(t.Context()); err != nil || rs[0].Outcome != edition.OutcomeDelivered {
			t.Fatal(rs, err)
		}
	}
	// A commit of something else takes whatever waits along.
	if err := s.Register(t.Context(), edition.Registration{Key: benchKey(2)}); err != nil {
		t.Fatal(err)
	}
	if now := counter(t, s.metrics.records); now != records+2 {
		t.Errorf("%v records were written, want those of the second registration", now-records)
	}
	// The high-water mark outlives a stop in good order.
	path := s.path
	stop()
	s, _ = run(t, Options{Path: path})
	if st, err := s.State(k); err != nil || st.State != edition.StateDelivered || st.Version != 100 {
		t.Error(st, err)
	}
}

// TestAllocations bounds what the path of a connected device costs the garbage
// collector: the receipt and its channel, the waiter, and what the caller has.
func TestAllocations(t *testing.T) {
	s, _ := run(t, Options{})
	k := benchKey(1)
	if err := s.Register(t.Context(), edition.Registration{Key: k}); err != nil {
		t.Fatal(err)
	}
	u := edition.Update{{Key: k}}
	var buf edition.Update
	got := testing.AllocsPerRun(1000, func() {
		u[0].Version++
		r := s.Deliver(u, edition.Delivery{Grace: time.Hour})
		buf, _ = s.Pending(buf[:0], edition.Direct, k.UAID)
		s.Sent(edition.Direct, buf)
		s.Ack(edition.Direct, buf, edition.AckDelivered)
		<-r.Done()
	})
	if got > 6 {
		t.Errorf("%v allocations an event", got)
	}
}

// TestKill kills a process that takes events, at random moments, and compares
// what it had answered with what is on disk.
func TestKill(t *testing.T) {
	if path := os.Getenv("EDITION_TEST_KILL"); path != "" {
		killed(path)
		return
	}
	cycles := 3
	if os.Getenv("EDITION_LONG") != "" {
		cycles = 50
	}
	path := filepath.Join(t.TempDir(), "edition.db")
	answered := map[int]edition.Version{}
	for cycle := range cycles {
		child := exec.Command(os.Args[0], "-test.run=^TestKill$")
		child.Env = append(os.Environ(), "EDITION_TEST_KILL="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		after := 200 + rand.IntN(3000)
		for n := 0; n < after && lines.Scan(); n++ {
			answer(t, answered, lines.Text())
		}
		child.Process.Kill() // it may be dead already
		for lines.Scan() {
			answer(t, answered, lines.Text())
		}
		child.Wait() // it was killed
		s, err := Open(Options{Path: path})
		if err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		for i, v := range answered {
			if st, err := s.State(benchKey(i)); err != nil || st.Version < v {
				t.Fatalf("cycle %d: key %d: %+v %v, want %d at least", cycle, i, st, err, v)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(answered) < 50 {
		t.Errorf("only %d keys were answered for", len(answered))
	}
}

// answer reads a whole line of the child: "key version".
func answer(t *testing.T, answered map[int]edition.Version, line string) {
	var i int
	var v edition.Version
	if n, err := fmt.Sscanf(line, "%d %d .", &i, &v); err != nil || n != 2 || !strings.HasSuffix(line, ".") {
		return // cut short
	}
	answered[i] = max(answered[i], v)
}

// killed is the process that TestKill kills.
func killed(path string) {
	s, err := Open(Options{Path: path, MemoryRows: 100, JournalBytes: 20_000})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	go s.Run(ctx) // it does not return before it is killed
	var mu sync.Mutex
	base := edition.Version(time.Now().UnixNano())
	for w := range 16 {
		go func() {
			r := rand.New(rand.NewPCG(uint64(w), uint64(base)))
			for ctx.Err() == nil {
				i := r.IntN(400)
				k := benchKey(i)
				if err := s.Register(ctx, edition.Registration{Key: k}); err != nil {
					continue
				}
				u := edition.Update{{Key: k, Version: base + edition.Version(r.IntN(1_000_000))}}
				grace := time.Duration(r.IntN(2)) * time.Millisecond
				rs, err := s.Deliver(u, edition.Delivery{Grace: grace}).Wait(ctx)
				if err != nil || rs[0].Outcome != edition.OutcomeStored {
					continue
				}
				mu.Lock()
				io.WriteString(os.Stdout, fmt.Sprintf("%d %d .\n", i, rs[0].Version)) // the parent may be gone
				mu.Unlock()
			}
		}()
	}
	<-ctx.Done()
}
