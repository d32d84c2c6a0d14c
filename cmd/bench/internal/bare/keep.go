package bare

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// Sizes of what the bare stores keep: like a pending event of the product.
const (
	keySize   = 4 + 16 + 16 // owner, UAID, APPID
	valueSize = 32
)

var bucket = []byte("pending")

// Open opens a bare store, with the options that the product uses and all
// syncs on.
func Open(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{
		FreelistType: bolt.FreelistMapType, NoFreelistSync: true, Timeout: time.Second,
	})
}

func appendKey(dst []byte, k edition.Key) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, k.UAID[:]...)
	return append(dst, k.AppID[:]...)
}

// Fill makes a store with n keys, which rise with i.
func Fill(path string, n int, at func(i int) edition.Key) error {
	db, err := Open(path)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // Sync tells
	db.NoSync = true // only here: nothing is measured
	const chunk = 50_000
	for from := 0; from < n; from += chunk {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			b.FillPercent = 0.9
			for i := from; i < min(n, from+chunk); i++ {
				if err := b.Put(appendKey(nil, at(i)), make([]byte, valueSize)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return db.Sync()
}

// keep is a PUT handler that answers after a group commit.
type keep struct {
	puts chan *put
}

type put struct {
	key   [keySize]byte
	value [valueSize]byte
	kept  chan error
}

// maxBatch bounds a group commit; more never wait at once here.
const maxBatch = 4096

// Keep serves until ctx ends: PUT /put/KEY, the key in hexadecimal, keeps the
// body under it and answers 202 when the commit has synced. Requests that come
// while a commit runs form the next one.
func Keep(ctx context.Context, l net.Listener, path string) error {
	db, err := Open(path)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // every commit was synced
	k := &keep{puts: make(chan *put, maxBatch)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.commit(ctx, db)
	}()
	err = serve(ctx, l, k)
	<-done
	return err
}

func (k *keep) commit(ctx context.Context, db *bolt.DB) {
	batch := make([]*put, 0, maxBatch)
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-k.puts:
			batch = append(batch[:0], p)
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case p := <-k.puts:
				batch = append(batch, p)
			default:
				more = false
			}
		}
		slices.SortFunc(batch, func(a, b *put) int { return bytes.Compare(a.key[:], b.key[:]) })
		err := db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			for _, p := range batch {
				if err := b.Put(p.key[:], p.value[:]); err != nil {
					return err
				}
			}
			return nil
		})
		for _, p := range batch {
			p.kept <- err
		}
	}
}

func (k *keep) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := &put{kept: make(chan error, 1)}
	name, ok := strings.CutPrefix(r.URL.Path, PathPut)
	ok = ok && len(name) == hex.EncodedLen(keySize-4)
	if ok {
		_, err := hex.Decode(p.key[4:], []byte(name))
		ok = err == nil
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	copy(p.value[:], body)
	k.puts <- p
	if err := <-p.kept; err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// Write puts n keys into a new store, in transactions of batch keys, each
// synced, and returns how long that took.
func Write(path string, n, batch int, at func(i int) edition.Key) (time.Duration, error) {
	db, err := Open(path)
	if err != nil {
		return 0, err
	}
	defer db.Close() //nolint:errcheck // every commit was synced
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(bucket); return err }); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	start := time.Now()
	for from := 0; from < n; from += batch {
		err := db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			for i := from; i < min(n, from+batch); i++ {
				if err := b.Put(appendKey(nil, at(i)), make([]byte, valueSize)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
