package bolt

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/edition-push/edition"
)

// Open opens the store's file, or makes one where there is none. A file that
// is damaged, foreign or of a newer format is ErrDamaged and is left as it is;
// one that another process holds is ErrLocked; one that cannot be opened for
// writing is ErrConfig.
func Open(o Options) (*Store, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	s := &Store{options: o, path: o.Path, ttl: o.TTL.Milliseconds(), start: time.Now(), metrics: newMetrics(o.Metrics), closing: shutdownFold}
	s.queue.bell = make(chan struct{}, 1)
	s.trimmer = make(doorbell, 1)
	s.relays.table, s.upstreams.table = tableRelays, tableUpstreams
	s.fold.budget = 1024
	f, err := openFile(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(o.Path); err == nil {
			f, err = openFile(o.Path)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := check(f); err != nil {
		f.Close()
		return nil, damaged(o.Path, err)
	}
	if s.db, err = openBolt(f, o.Path); err != nil {
		return nil, err
	}
	s.db.NoSync = o.Sync == SyncInterval
	if err := s.migrate(); err != nil {
		s.db.Close() //nolint:errcheck // the first error tells
		return nil, err
	}
	if err := s.read(s.load); err != nil {
		s.db.Close() //nolint:errcheck // nothing was written
		return nil, damaged(o.Path, err)
	}
	return s, nil
}

func damaged(path string, err error) error {
	return fmt.Errorf("%w: %s: %w; it was left as it is: move it away to begin anew (then everything kept in it is lost), or put a copy from a backup in its place", edition.ErrDamaged, path, err)
}

// openFile opens and locks an existing file.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: cannot open the data file for writing: %w", edition.ErrConfig, err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// create makes a new file: complete under another name, then under its own, so
// that a process that dies half-way leaves no half file.
func create(path string) (err error) {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("%w: cannot make the data file: %w", edition.ErrConfig, err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return fmt.Errorf("making %s: %w", path, err)
	}
	db, err := openBolt(f, temp)
	if err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	defer func() {
		if cerr := db.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("making %s: %w", path, cerr)
		}
	}()
	if err := db.Update(initialize); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	if _, err := os.Stat(path); err == nil {
		return nil // another process was faster
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("syncing %s: %w", path, err)
	}
	return nil
}

// initialize writes the tables and what marks the file as ours.
func initialize(tx *bbolt.Tx) error {
	for _, name := range tables {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(tableMeta)
	if err := mark(meta); err != nil {
		return err
	}
	return meta.Put(keyID, seal(keyID, append(make([]byte, headSize), rand.Text()...)))
}

// openBolt hands an open and locked file to bbolt, which closes it.
func openBolt(f *os.File, path string) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = damaged(path, fmt.Errorf("%v", r))
		}
		if err != nil {
			f.Close()
		}
	}()
	size := 0
	if math.MaxInt > math.MaxInt32 {
		size = 1 << 30 // address space, so that the map rarely moves
	}
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         time.Second,
		FreelistType:    bbolt.FreelistMapType,
		NoFreelistSync:  true,
		NoStatistics:    true,
		InitialMmapSize: size,
		OpenFile:        func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, errLocked(f)
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return db, nil
}

// load checks the marks of the file and reads what is held in memory.
func (s *Store) load(tx *bbolt.Tx) error {
	for _, name := range tables {
		if tx.Bucket(name) == nil {
			return errForeign
		}
	}
	meta := tx.Bucket(tableMeta)
	if err := checkMark(meta.Get(keyFormat)); err != nil {
		return err
	}
	id, err := unseal(keyID, meta.Get(keyID))
	if err != nil {
		return err
	}
	s.id = string(id)
	if err := s.relays.load(tx); err != nil {
		return err
	}
	if err := s.upstreams.load(tx); err != nil {
		return err
	}
	if err := s.replay(tx); err != nil {
		return err
	}
	return s.countBodies(tx)
}

// fileFormat is the format of a file as a whole. Format 1 had one route a party;
// its records are read, and so are written anew as they change. Format 2 had no
// table of bodies. A program that knows an older format only refuses the file.
const fileFormat = 3

// mark writes the record that checkMark checks.
func mark(meta *bbolt.Bucket) error {
	value := make([]byte, headSize)
	value[4] = fileFormat
	binary.LittleEndian.PutUint32(value, checksum(keyFormat, value))
	return meta.Put(keyFormat, value)
}

// migrate adds to a file of an older format what it lacks, and marks it as one
// of this.
func (s *Store) migrate() error {
	old := false
	err := s.read(func(tx *bbolt.Tx) error {
		old = tx.Bucket(tableMeta).Get(keyFormat)[4] < fileFormat // check has seen it
		return nil
	})
	if err != nil || !old {
		return err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(tableBodies); err != nil {
			return err
		}
		return mark(tx.Bucket(tableMeta))
	})
	if err != nil {
		return fmt.Errorf("%w: cannot mark %s as of format %d: %w", edition.ErrConfig, s.path, fileFormat, err)
	}
	s.options.Log.Info("the data file has a newer format from now on; older programs do not read it", "path", s.path, "format", fileFormat)
	return nil
}

// checkMark checks the record that says that a file is ours, and of which
// format.
func checkMark(mark []byte) error {
	switch {
	case len(mark) < headSize:
		return errForeign
	case mark[4] > fileFormat:
		return fmt.Errorf("its format is %d and this program knows none above %d: a newer one has written it", mark[4], fileFormat)
	case mark[4] == 0 || binary.LittleEndian.Uint32(mark) != checksum(keyFormat, mark):
		return errForeign
	}
	return nil
}

var errForeign = errors.New("it is not a data file of this program")
