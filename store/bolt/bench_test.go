//go:build unix

package bolt

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// sizes are how many pending events a benchmark begins with.
func sizes() []int {
	if os.Getenv("EDITION_LONG") == "" {
		return []int{100_000}
	}
	return []int{100_000, 1_000_000, 5_000_000}
}

// bulkFile returns a file with n pending events.
func bulkFile(b *testing.B, n int, owner edition.Owner) string {
	b.Helper()
	name := fmt.Sprintf("%d for %d", n, owner)
	if files[name] != "" {
		return files[name]
	}
	dir, err := os.MkdirTemp("", "edition-bench")
	if err != nil {
		b.Fatal(err)
	}
	files[name] = filepath.Join(dir, "edition.db")
	err = Bulk(files[name], n, func(i int) (edition.Agent, edition.Key, edition.Version) {
		return edition.Agent{Owner: owner}, benchKey(i), 1
	})
	if err != nil {
		b.Fatal(err)
	}
	return files[name]
}

// cpu returns the time that the process has spent computing.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// parallel runs f with 128 goroutines for b.N calls, and reports the CPU time
// of each.
func parallel(b *testing.B, f func(i int)) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	start := cpu()
	for range 128 {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				f(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpu()-start)/float64(b.N)/1000, "cpu-µs/op")
}

func BenchmarkDeliver(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("pending=%d", n), func(b *testing.B) {
			s, stop := run(b, Options{Path: bulkFile(b, n, edition.Direct)})
			defer stop()
			b.ReportAllocs()
			var version atomic.Uint64
			version.Store(uint64(time.Now().UnixNano()))
			parallel(b, func(int) {
				u := edition.Update{{Key: benchKey(rand.IntN(n)), Version: edition.Version(version.Add(1))}}
				rs, err := s.Deliver(u, edition.Delivery{}).Wait(b.Context())
				if err != nil || rs[0].Outcome != edition.OutcomeStored {
					b.Error(rs, err)
				}
			})
			b.ReportMetric(float64(s.commits), "commits")
		})
	}
}

// bareWriter is the limit that Deliver is compared with: bbolt with a group
// commit and nothing else, the same keys, a value of 8 bytes.
type bareWriter struct {
	db *bbolt.DB
	ch chan bareWrite
}

type bareWrite struct {
	key, value []byte
	done       chan error
}

func newBare(b *testing.B, n int) *bareWriter {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, NoSync: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]edition.Key, n)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	sortKeys(keys)
	for i := 0; i < n; i += bulkTx {
		err := db.Update(func(tx *bbolt.Tx) error {
			t, err := tx.CreateBucketIfNotExists(tableApps)
			if err != nil {
				return err
			}
			t.FillPercent = bulkFill
			for _, k := range keys[i:min(n, i+bulkTx)] {
				if err := t.Put(appendKey(nil, k), make([]byte, 8)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	db.NoSync = false
	if err := db.Sync(); err != nil {
		b.Fatal(err)
	}
	return &bareWriter{db: db, ch: make(chan bareWrite, 1024)}
}

func (w *bareWriter) run(b *testing.B) {
	for first := range w.ch {
		batch := []bareWrite{first}
	more:
		for len(batch) < 1024 {
			select {
			case next, ok := <-w.ch:
				if !ok {
					break more
				}
				batch = append(batch, next)
			default:
				break more
			}
		}
		err := w.db.Update(func(tx *bbolt.Tx) error {
			t := tx.Bucket(tableApps)
			for _, e := range batch {
				if err := t.Put(e.key, e.value); err != nil {
					return err
				}
			}
			return nil
		})
		for _, e := range batch {
			e.done <- err
		}
	}
	if err := w.db.Close(); err != nil {
		b.Error(err)
	}
}

func BenchmarkBareDeliver(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("pending=%d", n), func(b *testing.B) {
			w := newBare(b, n)
			var wg sync.WaitGroup
			wg.Go(func() { w.run(b) })
			parallel(b, func(i int) {
				e := bareWrite{appendKey(nil, benchKey(rand.IntN(n))), binary.BigEndian.AppendUint64(nil, uint64(i)), make(chan error, 1)}
				w.ch <- e
				if err := <-e.done; err != nil {
					b.Error(err)
				}
			})
			close(w.ch)
			wg.Wait()
		})
	}
}

func sortKeys(keys []edition.Key) {
	slices.SortFunc(keys, edition.Key.Compare)
}

// BenchmarkOvertaken is the path of a connected device: an event that is sent
// and acknowledged within its grace.
func BenchmarkOvertaken(b *testing.B) {
	s, stop := run(b, Options{Path: bulkFile(b, 10_000, edition.Direct)})
	defer stop()
	keys := make([]edition.Key, 10_000)
	for i := range keys {
		keys[i] = benchKey(i)
		if _, err := s.Pending(nil, edition.Direct, keys[i].UAID); err != nil {
			b.Fatal(err)
		}
	}
	base := edition.Version(time.Now().UnixNano())
	b.ReportAllocs()
	b.ResetTimer()
	start := cpu()
	var buf edition.Update
	for i := range b.N {
		k := keys[i%len(keys)]
		u := edition.Update{{Key: k, Version: base + edition.Version(i)}}
		r := s.Deliver(u, edition.Delivery{Grace: 25 * time.Millisecond})
		buf, _ = s.Pending(buf[:0], edition.Direct, k.UAID)
		s.Sent(edition.Direct, buf)                      // the outcome is checked
		s.Ack(edition.Direct, buf, edition.AckDelivered) // the outcome is checked
		if rs, err := r.Wait(b.Context()); err != nil || rs[0].Outcome != edition.OutcomeDelivered {
			b.Fatal(rs, err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu()-start)/float64(b.N)/1000, "cpu-µs/op")
}

// BenchmarkUpdates is a relay that takes updates of 1,000 events.
func BenchmarkUpdates(b *testing.B) {
	const n, per = 1_000_000, 1000
	s, stop := run(b, Options{Path: bulkFile(b, n, edition.Direct)})
	defer stop()
	keys := make([]edition.Key, n)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	sortKeys(keys)
	b.ResetTimer()
	start := cpu()
	base := edition.Version(time.Now().UnixNano())
	u := make(edition.Update, per)
	for i := range b.N {
		for j := range u {
			u[j] = edition.Event{Key: keys[(i*per+j)%n], Version: base + edition.Version(i)}
		}
		if _, err := s.Deliver(u, edition.Delivery{Adopt: true}).Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu()-start)/float64(b.N)/per/1000, "cpu-µs/event")
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/per, "µs/event")
}

// BenchmarkBareUpdates is its limit: bbolt, the same keys, 1,000 a transaction.
func BenchmarkBareUpdates(b *testing.B) {
	const n, per = 1_000_000, 1000
	w := newBare(b, n)
	defer w.db.Close()
	keys := make([]edition.Key, n)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	sortKeys(keys)
	b.ResetTimer()
	start := cpu()
	for i := range b.N {
		err := w.db.Update(func(tx *bbolt.Tx) error {
			t := tx.Bucket(tableApps)
			for j := range per {
				if err := t.Put(appendKey(nil, keys[(i*per+j)%n]), binary.BigEndian.AppendUint64(nil, uint64(i+2))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu()-start)/float64(b.N)/per/1000, "cpu-µs/event")
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/per, "µs/event")
}

// BenchmarkDrain reads and acknowledges all that waits for a relay. Its unit is
// one event.
func BenchmarkDrain(b *testing.B) {
	const n = 1_000_000
	for range b.N {
		b.StopTimer()
		delete(files, fmt.Sprintf("%d for %d", n, 1))
		s, stop := run(b, Options{Path: bulkFile(b, n, 1)})
		b.StartTimer()
		var u edition.Update
		var after edition.Key
		total := 0
		for more := true; more; {
			var err error
			if u, after, more, err = s.Scan(u[:0], 1, after, 1000); err != nil {
				b.Fatal(err)
			}
			s.Sent(1, u)                              // the count is checked
			c, _ := s.Ack(1, u, edition.AckDelivered) // the count is checked
			total += c.Cleared
		}
		if total != n {
			b.Fatal(total)
		}
		b.ReportMetric(b.Elapsed().Seconds()*1e6/n, "µs/event")
		b.StopTimer()
		stop()
	}
}

// BenchmarkOpen is a start with a file of n pending events.
func BenchmarkOpen(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("pending=%d", n), func(b *testing.B) {
			path := bulkFile(b, n, edition.Direct)
			b.ResetTimer()
			for range b.N {
				s, err := Open(Options{Path: path})
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
