package bolt

import (
	"sync"

	"github.com/edition-push/edition"
)

// queue holds what the next commits are to write: names only, a commit takes
// the images that are current when it is made. Its lock may be taken inside a
// shard's.
type queue struct {
	bell chan struct{} // capacity 1: something is to be written at once

	mu     sync.Mutex
	closed bool // no commit will come: nobody may begin to wait for one
	keys   []edition.Key
	groups []group
	agents []edition.UAID
	ops    []chan<- error // told how the commit went that takes them
	grace  fifo           // events that an ack may overtake
	lazy   fifo           // clears and reports
}

// timed is a key that may wait.
type timed struct {
	key edition.Key
	due int64 // on the clock of the commit loop, Store.ticks
}

// fifo is a queue of timed keys that come in the order of their times.
type fifo struct {
	items []timed
	head  int
}

func (f *fifo) push(t timed) { f.items = append(f.items, t) }

// pop moves the keys due by now to dst.
func (f *fifo) pop(dst []edition.Key, now int64) []edition.Key {
	for f.head < len(f.items) && f.items[f.head].due <= now {
		dst = append(dst, f.items[f.head].key)
		f.head++
	}
	if f.head > len(f.items)/2 {
		f.items = f.items[:copy(f.items, f.items[f.head:])]
		f.head = 0
	}
	return dst
}

// next returns when the first key is due, or far in the future.
func (f *fifo) next() int64 {
	if f.head == len(f.items) {
		return never
	}
	return f.items[f.head].due
}

const never = 1 << 62

const (
	// lazyDelay is how long a clear or a report may wait for a commit that
	// is made anyway, in milliseconds.
	lazyDelay = 1000
	// lazyRide is how long it waits before it rides with one: most reports
	// are confirmed by then and need not be written.
	lazyRide = 50
)

// now puts a key into the next commit; ring wakes it.
func (q *queue) now(k edition.Key) {
	q.mu.Lock()
	q.keys = append(q.keys, k)
	q.mu.Unlock()
}

// group is the part of a large delivery that waits for one commit: what stands
// in the queue from first on, an item a key.
type group struct {
	first   int
	pledges []pledge
}

// pledge is a result that is known when its commit is.
type pledge struct {
	receipt *edition.Receipt // nil when it has its result
	index   int32
	key     edition.Key
	version edition.Version
}

// together puts the keys of many pledges into the next commit. It reports
// whether there may be one.
func (q *queue) together(pledges []pledge) bool {
	if len(pledges) == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.groups = append(q.groups, group{len(q.keys), pledges})
	for i := range pledges {
		q.keys = append(q.keys, pledges[i].key)
	}
	return true
}

// wait puts what a call has changed into the next commit, and done, which is
// told how that went. It reports whether there may be one.
func (q *queue) wait(done chan<- error, keys []edition.Key, agents ...edition.UAID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.keys = append(q.keys, keys...)
	q.agents = append(q.agents, agents...)
	q.ops = append(q.ops, done)
	return true
}

// close moves all that waits into b, and lets nobody begin to wait.
func (q *queue) close(b *batch) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.take(b, never)
}

// within puts a key into a commit at the latest when it is due.
func (q *queue) within(k edition.Key, due int64) {
	q.mu.Lock()
	q.grace.push(timed{k, due})
	alone := len(q.grace.items)-q.grace.head == 1
	q.mu.Unlock()
	if alone {
		q.ring()
	}
}

// later puts a key into a commit within lazyDelay.
func (q *queue) later(k edition.Key, now int64) {
	q.mu.Lock()
	q.lazy.push(timed{k, now + lazyDelay})
	q.mu.Unlock()
}

func (q *queue) ring() {
	select {
	case q.bell <- struct{}{}:
	default:
	}
}

// batch is what one commit takes.
type batch struct {
	keys   []edition.Key
	groups []group
	agents []edition.UAID
	ops    []chan<- error
}

func (b *batch) reset() {
	clear(b.groups)
	b.keys, b.groups, b.agents, b.ops = b.keys[:0], b.groups[:0], b.agents[:0], b.ops[:0]
}

func (b *batch) empty() bool { return len(b.keys)+len(b.agents)+len(b.ops) == 0 }

// take moves what is due by now into b, which is empty.
func (q *queue) take(b *batch, now int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.keys, q.keys = q.keys, b.keys
	b.groups, q.groups = q.groups, b.groups
	b.agents, q.agents = q.agents, b.agents
	b.ops, q.ops = q.ops, b.ops
	b.keys = q.grace.pop(b.keys, now)
	switch {
	case q.lazy.next() <= now, !b.empty():
		b.keys = q.lazy.pop(b.keys, now+lazyDelay-lazyRide)
	}
}

// putBack undoes take, but for those who wait, after a commit that failed.
func (q *queue) putBack(b *batch) {
	q.mu.Lock()
	q.keys = append(q.keys, b.keys...)
	q.agents = append(q.agents, b.agents...)
	q.mu.Unlock()
}

// next returns when something is due; what was put in by now is due at once.
func (q *queue) next() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.keys)+len(q.agents)+len(q.ops) > 0 {
		return 0
	}
	return min(q.grace.next(), q.lazy.next())
}
