package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// routes knows, of most devices that cannot be kicked, that they cannot: a
// Bloom filter of those that have, or had, a route. Every event for an absent
// device asks for its route; most have none, and then nothing is read. It
// takes 2 bytes a device with a route, and up to twice that while it grows.
//
// It is made anew at each start, by reading the devices' table beside the
// work; until that is done it knows nothing.
type routes struct {
	known atomic.Bool // the table has been read

	mu     sync.RWMutex
	layers []routeLayer // Guarded by mu. Each has room for twice as many as the last.
}

type routeLayer struct {
	bits []uint64
	n    int // how many were added
}

const (
	routeBits  = 16   // bits of a layer for each device: 0.24 % false answers
	firstLayer = 4096 // devices
	routeChunk = 4096 // devices read at once
)

// none reports that a device certainly has no route.
func (r *routes) none(u edition.UAID) bool {
	if !r.known.Load() {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := range r.layers {
		if r.layers[i].has(u) {
			return false
		}
	}
	return true
}

func (r *routes) add(u edition.UAID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.layers {
		if r.layers[i].has(u) {
			return
		}
	}
	if n := len(r.layers); n == 0 || r.layers[n-1].full() {
		r.layers = append(r.layers, routeLayer{bits: make([]uint64, firstLayer<<n*routeBits/64)})
	}
	r.layers[len(r.layers)-1].add(u)
}

func (l *routeLayer) full() bool { return l.n*routeBits >= len(l.bits)*64 }

// places are four bits of the layer. A UAID is random, so its words are hashes;
// the bits that a UUIDv4 fixes stand in the second and third, and are mixed out.
func (l *routeLayer) places(u edition.UAID) (p [4]uint64) {
	size := uint64(len(l.bits)) * 64
	a, b := binary.LittleEndian.Uint64(u[:8]), binary.LittleEndian.Uint64(u[8:])
	mixed := (a ^ b<<1) * 0x9e3779b97f4a7c15
	for i, word := range [4]uint64{a & 0xffffffff, mixed >> 32, b >> 32, (mixed ^ b) & 0xffffffff} {
		p[i] = word * size >> 32
	}
	return p
}

func (l *routeLayer) has(u edition.UAID) bool {
	for _, p := range l.places(u) {
		if l.bits[p/64]&(1<<(p%64)) == 0 {
			return false
		}
	}
	return true
}

func (l *routeLayer) add(u edition.UAID) {
	for _, p := range l.places(u) {
		l.bits[p/64] |= 1 << (p % 64)
	}
	l.n++
}

// learnRoutes reads the devices' table beside the work, until ctx ends or wait
// is called.
func (s *Store) learnRoutes(ctx context.Context) (wait func()) {
	return background(ctx, func(ctx context.Context) {
		for after := []byte(nil); ctx.Err() == nil; {
			next, err := s.learnAfter(after)
			if err != nil {
				s.options.Log.Error("cannot read who can be kicked: each is looked up", "path", s.path, "err", err)
				return
			}
			if next == nil {
				s.routed.known.Store(true)
				return
			}
			after = next
		}
	})
}

// learnAfter reads a part of the table, and returns where to go on, or nil.
func (s *Store) learnAfter(after []byte) (next []byte, err error) {
	err = s.read(func(tx *bbolt.Tx) error {
		c := tx.Bucket(tableAgents).Cursor()
		k, v := c.Seek(after)
		for n := 0; k != nil; k, v = c.Next() {
			if n++; n > routeChunk {
				next = bytes.Clone(k)
				return nil
			}
			body, err := unseal(k, v)
			if err != nil {
				return err
			}
			a, _, err := readAgent(body)
			if err != nil {
				return err
			}
			if len(a.routes) > 0 {
				s.routed.add(edition.UAID(k))
			}
		}
		return nil
	})
	return next, err
}
