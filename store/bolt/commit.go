package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/edition-push/edition"
)

// commit is one transaction in the making, used again and again by Run: a
// journal value of what the batch names, the parties that changed, and at
// times a slice of a fold.
type commit struct {
	batch
	value  []byte
	images []image
	wrote  []wroteAgent
	relays []uint32
	ups    []uint32
	slice  slice
	took   time.Duration
	probe  bool // write something, to see whether there is room again
}

// image says what of a row went into the journal value.
type image struct {
	key     edition.Key
	version edition.Version // what is pending, else the greatest that has arrived
	flags   flags
	pledge  *pledge // of a group, that waits for it
}

type wroteAgent struct {
	uaid    edition.UAID
	changes uint32
}

func (c *commit) reset() {
	c.batch.reset()
	c.value = append(c.value[:0], make([]byte, headSize)...)
	clear(c.images)
	c.images, c.wrote, c.relays, c.ups = c.images[:0], c.wrote[:0], nil, nil
	c.slice.reset()
	c.probe = false
}

// nothing reports whether there is no need for a transaction.
func (c *commit) nothing() bool {
	return len(c.images)+len(c.wrote)+len(c.relays)+len(c.ups) == 0 && !c.slice.active && !c.probe
}

// The kinds of journal records.
const (
	recordRow   = 1
	recordAgent = 2
	recordBody  = 3 // what the row before it carries
)

// journal adds the current image of a row that must be journaled. The shard is
// locked.
func (c *commit) journal(sh *shard, x cell) {
	r := x.row()
	k := x.key()
	c.value = appendKey(append(c.value, recordRow), k)
	c.value = appendRow(c.value, &r, inJournal, 0)
	if b := sh.bodies[k]; b != nil {
		c.value = appendBodyRecord(c.value, k, b)
	}
	img := image{key: k, version: r.version, flags: r.flags}
	if !r.is(isPending) {
		img.version = r.high
	}
	c.images = append(c.images, img)
	r.clear(mustJournal)
	r.set(isWriting)
	x.set(r)
}

// journalAgent is journal for a device.
func (c *commit) journalAgent(u edition.UAID, a *agent) {
	c.value = append(append(c.value, recordAgent), u[:]...)
	c.value = appendAgent(c.value, a)
	c.wrote = append(c.wrote, wroteAgent{u, a.changes})
	a.dirty, a.writing = false, true
}

// build takes the images of what the batch names. What has been acknowledged,
// or written, since it was put there has none to take.
func (s *Store) build(c *commit) {
	groups := c.groups
	for n := 0; n < len(c.keys); {
		nth := shardOf(c.keys[n].UAID)
		sh := &s.shards[nth]
		sh.mu.Lock()
		for ; n < len(c.keys) && shardOf(c.keys[n].UAID) == nth; n++ {
			for len(groups) > 0 && n >= groups[0].first+len(groups[0].pledges) {
				groups = groups[1:]
			}
			x, ok := sh.find(c.keys[n])
			if !ok || !x.c.entries[x.i].row.is(mustJournal) {
				continue
			}
			c.journal(sh, x)
			if len(groups) > 0 && n >= groups[0].first {
				c.images[len(c.images)-1].pledge = &groups[0].pledges[n-groups[0].first]
			}
		}
		sh.mu.Unlock()
	}
	for _, u := range c.agents {
		sh := &s.shards[shardOf(u)]
		sh.mu.Lock()
		if a := sh.agents[u]; a != nil && a.dirty {
			c.journalAgent(u, a)
		}
		sh.mu.Unlock()
	}
	c.relays, c.ups = s.relays.take(), s.upstreams.take()
}

// commit writes what was built. The error is one of bbolt's, or a fault.
func (s *Store) commit(c *commit) (err error) {
	if c.nothing() {
		return nil
	}
	start := time.Now()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a commit: %v", r)
		}
	}()
	if err := s.faulty("begin"); err != nil {
		return err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	if err := s.write(tx, c); err != nil {
		tx.Rollback() //nolint:errcheck // the write's error says more
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.metrics.commits.Inc()
	s.metrics.records.Add(float64(len(c.images) + len(c.wrote)))
	c.took = time.Since(start)
	s.metrics.seconds.Observe(c.took.Seconds())
	return s.faulty("end")
}

func (s *Store) faulty(stage string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(stage)
}

func (s *Store) write(tx *bbolt.Tx, c *commit) error {
	if err := s.relays.write(tx, c.relays); err != nil {
		return err
	}
	if err := s.upstreams.write(tx, c.ups); err != nil {
		return err
	}
	if c.probe {
		if err := tx.Bucket(tableMeta).Put(keyProbe, seal(keyProbe, make([]byte, headSize))); err != nil {
			return err
		}
	}
	if len(c.images)+len(c.wrote) > 0 {
		b, err := tx.CreateBucketIfNotExists(journalName(s.fold.seg))
		if err != nil {
			return err
		}
		key := binary.BigEndian.AppendUint64(nil, s.commits+1)
		if err := b.Put(key, seal(key, c.value)); err != nil {
			return err
		}
	}
	if c.slice.active {
		return s.writeSlice(tx, &c.slice)
	}
	return nil
}

// finish notes that a commit is on disk, and tells those who wait for it.
func (s *Store) finish(c *commit) {
	s.commits++
	for i := 0; i < len(c.images); {
		n := shardOf(c.images[i].key.UAID)
		sh := &s.shards[n]
		sh.mu.Lock()
		for ; i < len(c.images) && shardOf(c.images[i].key.UAID) == n; i++ {
			s.written(sh, &c.images[i])
		}
		sh.mu.Unlock()
	}
	for _, g := range c.groups {
		for i := range g.pledges {
			if it := &g.pledges[i]; it.receipt != nil {
				it.receipt.Resolve(int(it.index), s.outcome(it))
			}
		}
	}
	for _, w := range c.wrote {
		sh := &s.shards[shardOf(w.uaid)]
		sh.mu.Lock()
		if a := sh.agents[w.uaid]; a != nil {
			a.writing, a.seg = false, s.fold.seg
		}
		sh.mu.Unlock()
	}
	s.relays.done(c.relays)
	s.upstreams.done(c.ups)
	if len(c.images)+len(c.wrote) > 0 {
		s.fold.bytes += int64(len(c.value))
	}
	for _, done := range c.ops {
		done <- nil
	}
	s.finishSlice(&c.slice)
	if !c.nothing() {
		s.pace(c)
	}
}

// written notes that a row's image is in the journal. The shard is locked.
func (s *Store) written(sh *shard, img *image) {
	pending := img.flags&isPending != 0
	if x, ok := sh.find(img.key); ok {
		r := x.row()
		r.clear(isWriting | isKept)
		r.seg = s.fold.seg
		if pending {
			r.set(isKept)
		}
		if img.flags&mustSettle != 0 && r.high == img.version {
			r.clear(mustSettle)
		}
		x.set(r)
	}
	if img.flags&mustSettle != 0 {
		sh.resolve(img.key, img.version, func(v edition.Version) edition.Result { return settled(v, img.version, false) })
	}
	if !pending {
		return
	}
	sh.resolve(img.key, img.version, func(v edition.Version) edition.Result { return stored(v, img.version) })
	if it := img.pledge; it != nil {
		it.receipt.Resolve(int(it.index), stored(it.version, img.version))
		it.receipt = nil
	}
}

// outcome says what has become of an event of which no image was left to
// write: an earlier commit has it, or it was acknowledged or unregistered.
func (s *Store) outcome(it *pledge) edition.Result {
	r, ok, err := s.peek(it.key)
	switch {
	case err != nil:
		return failed(err)
	case !ok:
		return edition.Result{Outcome: edition.OutcomeGone}
	case r.is(hasHigh) && it.version <= r.high:
		return settled(it.version, r.high, r.is(isRelayed))
	case r.is(isPending) && !r.is(mustRegister|mustPend|isWriting):
		return stored(it.version, r.version)
	}
	return stored(it.version, it.version)
}

// undo puts back what a failed commit took, so that it is tried again, and
// tells those who wait that it was not kept.
func (s *Store) undo(c *commit, why error) {
	for i := range c.images {
		img := &c.images[i]
		sh := &s.shards[shardOf(img.key.UAID)]
		sh.mu.Lock()
		if x, ok := sh.find(img.key); ok {
			r := x.row()
			r.clear(isWriting)
			r.set(img.flags & mustJournal)
			x.set(r)
		}
		sh.mu.Unlock()
		c.keys = append(c.keys, img.key) // a fold may have added it
	}
	for _, w := range c.wrote {
		sh := &s.shards[shardOf(w.uaid)]
		sh.mu.Lock()
		if a := sh.agents[w.uaid]; a != nil {
			a.writing, a.dirty = false, true
		}
		sh.mu.Unlock()
		c.agents = append(c.agents, w.uaid)
	}
	if c.slice.active {
		s.fold.at = c.slice.from
	}
	s.relays.putBack(c.relays)
	s.upstreams.putBack(c.ups)
	s.refuse(&c.batch, why)
	s.queue.putBack(&c.batch)
}

// isFull reports whether a commit failed because there is no room, or no
// leave, to write: before anything of it could count, so that it has not
// happened. A failed sync, and any other error, is of unknown outcome.
func isFull(err error) bool {
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return true
	}
	// bbolt does not wrap the error of growing the file, which comes before
	// any page is written.
	if strings.HasPrefix(err.Error(), "file resize error: ") {
		return true
	}
	// A write that failed is an os.PathError; a sync's is a bare errno. A
	// write is of a page that nothing refers to yet, or of a meta page, which
	// its checksum protects.
	pe, ok := errors.AsType[*os.PathError](err)
	if !ok || pe.Op != "write" {
		return false
	}
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS} {
		if errors.Is(pe, e) {
			return true
		}
	}
	return false
}
