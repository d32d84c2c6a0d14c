// Package bolt is the durable Store: one bbolt file, one group-commit loop.
//
// It keeps promise 1: what a receipt calls stored is on disk, synced, or was
// acknowledged; and promise 8: when the disk is full it refuses and recovers,
// when a commit fails otherwise it stops, and a file that is damaged or
// another program's is refused and left as it was.
//
// A commit appends one value to a journal, whatever the number of events and
// wherever their keys lie. What the journal has and the tables have not is in
// memory, in key order; when that grows, or while nothing else is to do, a
// fold sweeps over it in key order and writes it into the tables, a slice per
// commit, and drops the journal behind it. So a commit costs the same with a
// hundred thousand pending events and with five million, and what was
// acknowledged before the sweep came by is never written to a table as
// pending.
//
// The package does not decide who is told of an event; package hub does.
package bolt

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// The ways to sync, see Options.Sync.
const (
	SyncAlways   = "always"
	SyncInterval = "interval"
)

// Options of a Store. Zero values are the defaults.
type Options struct {
	// Path of the file. Its folder must exist.
	Path string
	// Sync is SyncAlways, the default: receipts complete when their commit is
	// synced; or SyncInterval: they complete when it is written, and the file
	// is synced every Interval (default 1 s). What was answered survives the
	// death of the process then, but not of the machine, which may even
	// leave a file that is refused as damaged.
	Sync     string
	Interval time.Duration
	// TTL is how long an event stays pending. Default 72 h.
	TTL time.Duration
	// RegistrationTTL is how long a device stays registered after it has been
	// seen last (edition.Agent.Seen). 0, the default, is for ever.
	RegistrationTTL time.Duration
	// SweepEvery is how often all that is pending is looked through for
	// what has expired. Default 10 min.
	SweepEvery time.Duration
	// MemoryRows is how many registrations may be in memory, about 130 bytes
	// each, before a fold begins. Default 524,288.
	MemoryRows int
	// JournalBytes is how long the journal may be before a fold begins.
	// Default 128 MiB.
	JournalBytes int64
	// DeviceMessages and DeviceBytes bound the messages (events with a body
	// in a slot) that wait for one device. Defaults 1,000 and 2 MiB.
	DeviceMessages int
	DeviceBytes    int64
	// Messages and MessageBytes bound those of all devices. Defaults
	// 1,000,000 and 1 GiB.
	Messages     int64
	MessageBytes int64
	// Now is the clock of versions, states and expiry; nil is time.Now.
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: counted, not shown
}

func (o *Options) defaults() error {
	def := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&o.Interval, time.Second)
	def(&o.TTL, 72*time.Hour)
	def(&o.SweepEvery, 10*time.Minute)
	if o.MemoryRows == 0 {
		o.MemoryRows = 1 << 19
	}
	if o.JournalBytes == 0 {
		o.JournalBytes = 128 << 20
	}
	size := func(n *int64, to int64) {
		if *n == 0 {
			*n = to
		}
	}
	size(&o.DeviceBytes, 2<<20)
	size(&o.Messages, 1_000_000)
	size(&o.MessageBytes, 1<<30)
	if o.DeviceMessages == 0 {
		o.DeviceMessages = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Sync == "" {
		o.Sync = SyncAlways
	}
	if o.Sync != SyncAlways && o.Sync != SyncInterval {
		return fmt.Errorf("%w: sync is %q, not %q or %q", edition.ErrConfig, o.Sync, SyncAlways, SyncInterval)
	}
	return nil
}

// Store implements edition.Store. Open one, Run it, and Close it.
type Store struct {
	// Fixed after construction.
	options Options
	path    string
	id      string
	ttl     int64 // milliseconds
	db      *bbolt.DB
	start   time.Time
	metrics *metrics
	fault   func(stage string) error // tests make commits fail; nil else
	closing time.Duration            // how long the fold at the end may take

	// marks is held while a slice of a sweep is on its way to the tables, and
	// while marks lapse: one that was made before must not be written as one of
	// the new epoch. It is taken before any other lock.
	marks sync.Mutex

	// Each guarded by its own lock.
	shards    [shards]shard
	queue     queue
	relays    parties
	upstreams parties
	routed    routes
	kept      kept
	trimmer   doorbell // messages are to make room
	versions  edition.SlotVersions

	failure   atomic.Pointer[error] // why events cannot be kept
	evictions atomic.Uint64         // how often rows have left memory; counted before they do

	// Owned by Run.
	commits uint64 // how many were made; the last one's key in the journal
	fold    fold
}

var _ edition.Store = (*Store)(nil)

// ID implements edition.Store.
func (s *Store) ID() string { return s.id }

// Err implements edition.Store: ErrUnavailable while the disk is full, and
// when Run has ended; ErrDisk after a commit of unknown outcome.
func (s *Store) Err() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *Store) fail(err error) {
	if err == nil {
		s.failure.Store(nil)
		return
	}
	s.failure.Store(&err)
}

// millis is the clock of rows, Unix time in milliseconds.
func (s *Store) millis() int64 { return s.options.Now().UnixMilli() }

// ticks is the clock of the commit loop, in milliseconds. It does not jump.
func (s *Store) ticks() int64 { return time.Since(s.start).Milliseconds() }

// Close closes the file. Run has returned, or was never called: then what is
// not on disk is lost, and no receipt said otherwise.
func (s *Store) Close() error {
	s.stop(errClosed)
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", s.path, err)
	}
	return nil
}

var errClosed = edition.RetryAfter(fmt.Errorf("%w: the store is closed", edition.ErrUnavailable), 5*time.Second)

// stop refuses everything from now on, and tells those who wait.
func (s *Store) stop(err error) {
	if s.Err() == nil {
		s.fail(err)
	}
	var b batch
	s.queue.close(&b)
	s.refuse(&b, s.Err())
}

// refuse tells everybody who waits for a commit that there will be none.
func (s *Store) refuse(b *batch, err error) {
	for _, done := range b.ops {
		done <- err
	}
	for _, g := range b.groups {
		for i := range g.pledges {
			if it := &g.pledges[i]; it.receipt != nil {
				it.receipt.Resolve(int(it.index), failed(err))
			}
		}
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for k := range sh.waiters {
			sh.resolve(k, edition.MaxVersion, func(edition.Version) edition.Result { return failed(err) })
		}
		sh.mu.Unlock()
	}
}
