package bolt

import (
	"encoding/binary"
	"sync"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// parties numbers the relays below or the upstreams above, from 1.
type parties struct {
	table []byte // the bucket's name

	mu    sync.RWMutex
	list  []*party // number n is at n-1; nil where a file has a gap
	names map[string]uint32
	dirty bool
}

// number returns the number of a name, making it at first. The empty name is 0.
func (p *parties) number(name string) uint32 {
	if name == "" {
		return 0
	}
	p.mu.RLock()
	n := p.names[name]
	p.mu.RUnlock()
	if n != 0 {
		return n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.names[name]; n != 0 {
		return n
	}
	p.list = append(p.list, &party{name: name, dirty: true})
	n = uint32(len(p.list))
	p.names[name] = n
	p.dirty = true
	return n
}

// met returns the number of a relay that has said hello with this id before, if
// that is on disk, or 0.
func (p *parties) met(name, id string) uint32 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if n := p.names[name]; n != 0 && p.list[n-1].saved && p.list[n-1].id == id && p.list[n-1].epoch != 0 {
		return n
	}
	return 0
}

// meet returns the number of a relay that says hello with the id of its store,
// whether that id is another one than last time, and whether all that is on
// disk already.
func (p *parties) meet(name, id string) (n uint32, lapsed, saved bool) {
	n = p.number(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.list[n-1]
	switch {
	case q.epoch == 0:
		q.id, q.epoch = id, 1
	case q.id != id:
		q.id, lapsed = id, true
		q.epoch++
	default:
		return n, false, q.saved
	}
	q.dirty, q.saved, p.dirty = true, false, true
	return n, lapsed, false
}

// known returns the number of a name, or 0.
func (p *parties) known(name string) uint32 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.names[name]
}

// get returns a copy of a party.
func (p *parties) get(n uint32) (party, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if n == 0 || n > uint32(len(p.list)) || p.list[n-1] == nil {
		return party{}, false
	}
	return *p.list[n-1], true
}

func (p *parties) epoch(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	q, _ := p.get(n)
	return q.epoch
}

func (p *parties) count() uint32 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return uint32(len(p.list))
}

// change edits a party, which must be written then.
func (p *parties) change(n uint32, edit func(*party)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n == 0 || n > uint32(len(p.list)) || p.list[n-1] == nil {
		return false
	}
	edit(p.list[n-1])
	p.list[n-1].dirty, p.list[n-1].saved, p.dirty = true, false, true
	return true
}

// take returns the numbers of those to be written.
func (p *parties) take() (ns []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty {
		return nil
	}
	for i, q := range p.list {
		if q != nil && q.dirty {
			ns = append(ns, uint32(i+1))
			q.dirty = false
		}
	}
	p.dirty = false
	return ns
}

// putBack undoes take after a commit that failed.
func (p *parties) putBack(ns []uint32) {
	for _, n := range ns {
		p.change(n, func(*party) {})
	}
}

// done notes that a commit has written what it took.
func (p *parties) done(ns []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range ns {
		p.list[n-1].saved = !p.list[n-1].dirty
	}
}

func (p *parties) write(tx *bbolt.Tx, ns []uint32) error {
	for _, n := range ns {
		q, _ := p.get(n)
		key := binary.BigEndian.AppendUint32(nil, n)
		if err := tx.Bucket(p.table).Put(key, seal(key, appendParty(make([]byte, headSize), &q))); err != nil {
			return err
		}
	}
	return nil
}

func (p *parties) load(tx *bbolt.Tx) error {
	p.names = make(map[string]uint32)
	return tx.Bucket(p.table).ForEach(func(k, v []byte) error {
		body, err := unseal(k, v)
		if err != nil {
			return err
		}
		q, err := readParty(body)
		if err != nil || len(k) != 4 {
			return errRecord
		}
		n := binary.BigEndian.Uint32(k)
		if n == 0 || n > maxParties {
			return errRecord
		}
		for uint32(len(p.list)) < n {
			p.list = append(p.list, nil)
		}
		q.saved = true
		p.list[n-1] = q
		p.names[q.name] = n
		return nil
	})
}

// maxParties bounds what a table may say of how many there are.
const maxParties = 1 << 24

// indexKey is where a table of owners or upstreams has a key.
func indexKey[N uint32 | edition.Owner](dst []byte, n N, k edition.Key) []byte {
	return appendKey(binary.BigEndian.AppendUint32(dst, uint32(n)), k)
}
