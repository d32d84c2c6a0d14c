package bolt

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// Bulk makes a file with n registrations, the i-th being what at(i) returns:
// its device, its key, and the version that is pending for it, from now for
// 72 hours. at is called more than once for each i; keys may come in any order
// but not twice. The owners of agents are numbers that Store.Relay has yet to
// give: the first relay that says hello to the store is number 1. Bulk is for
// benchmarks: it writes in key order and syncs at the end, and a file that it
// did not finish is not to be used. The file must not exist.
func Bulk(path string, n int, at func(i int) (edition.Agent, edition.Key, edition.Version)) (err error) {
	if err := create(path); err != nil {
		return err
	}
	f, err := openFile(path)
	if err != nil {
		return err
	}
	db, err := openBolt(f, path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	db.NoSync = true
	db.AllocSize = bulkAlloc
	b := &bulk{db: db, at: at, order: make([]int32, n), keys: make([]edition.Key, n), upstreams: map[string]uint32{"": 0}}
	for i := range n {
		b.order[i] = int32(i)
		_, b.keys[i], _ = at(i)
	}
	slices.SortFunc(b.order, func(i, j int32) int { return compareKeys(&b.keys[i], &b.keys[j]) })
	for _, pass := range []func() error{b.rows, b.due, b.agents, b.names} {
		if err := pass(); err != nil {
			return fmt.Errorf("filling %s: %w", path, err)
		}
	}
	return db.Sync()
}

// bulk is a file in the making.
type bulk struct {
	db        *bbolt.DB
	at        func(i int) (edition.Agent, edition.Key, edition.Version)
	order     []int32
	keys      []edition.Key
	upstreams map[string]uint32
}

// bulkTx is how many records go into one transaction, and bulkFill how full
// pages become: room for what is to come.
const (
	bulkTx   = 100_000
	bulkFill = 0.9
	// bulkAlloc is by how much the file grows at once: bbolt syncs it then.
	bulkAlloc = 256 << 20
)

// fill calls put for each of n records, in transactions.
func (b *bulk) fill(table []byte, n int, put func(t *bbolt.Bucket, i int) error) error {
	for from := 0; from < n; from += bulkTx {
		err := b.db.Update(func(tx *bbolt.Tx) error {
			t := tx.Bucket(table)
			t.FillPercent = bulkFill
			for i := from; i < min(n, from+bulkTx); i++ {
				if err := put(t, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bulk) upstream(name string) uint32 {
	if _, ok := b.upstreams[name]; !ok {
		b.upstreams[name] = uint32(len(b.upstreams))
	}
	return b.upstreams[name]
}

func (b *bulk) rows() error {
	now := time.Now().UnixMilli()
	return b.fill(tableApps, len(b.order), func(t *bbolt.Bucket, i int) error {
		a, k, v := b.at(int(b.order[i]))
		r := row{flags: isLive, owner: a.Owner, up: b.upstream(a.Upstream)}
		r.pend(v, now, (72 * time.Hour).Milliseconds())
		key := appendKey(nil, k)
		return t.Put(key, seal(key, appendRow(make([]byte, headSize, 48), &r, inTable, 0)))
	})
}

// due lists the rows by owner, in order.
func (b *bulk) due() error {
	slices.SortStableFunc(b.order, func(i, j int32) int { return cmp.Compare(b.owner(i), b.owner(j)) })
	return b.fill(tableDue, len(b.order), func(t *bbolt.Bucket, i int) error {
		key := indexKey(nil, b.owner(b.order[i]), b.keys[b.order[i]])
		return t.Put(key, seal(key, make([]byte, headSize)))
	})
}

func (b *bulk) owner(i int32) edition.Owner {
	a, _, _ := b.at(int(i))
	return a.Owner
}

func (b *bulk) agents() error {
	slices.SortFunc(b.order, func(i, j int32) int { return compareKeys(&b.keys[i], &b.keys[j]) })
	b.order = slices.CompactFunc(b.order, func(i, j int32) bool { return b.keys[i].UAID == b.keys[j].UAID })
	now := time.Now().UnixMilli()
	return b.fill(tableAgents, len(b.order), func(t *bbolt.Bucket, i int) error {
		a, k, _ := b.at(int(b.order[i]))
		body := agent{proof: a.Proof, owner: a.Owner, up: b.upstream(a.Upstream), seen: now, routes: a.Routes}
		return t.Put(k.UAID[:], seal(k.UAID[:], appendAgent(make([]byte, headSize, 96), &body)))
	})
}

func (b *bulk) names() error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		for name, n := range b.upstreams {
			if n == 0 {
				continue
			}
			key := binary.BigEndian.AppendUint32(nil, n)
			if err := tx.Bucket(tableUpstreams).Put(key, seal(key, appendParty(make([]byte, headSize), &party{name: name}))); err != nil {
				return err
			}
		}
		return nil
	})
}
