package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/edition-push/edition"
)

// filled makes a file with some of everything in it, the journal included.
func filled(t testing.TB) (path string) {
	path = filepath.Join(t.TempDir(), "edition.db")
	err := Bulk(path, 500, func(i int) (edition.Agent, edition.Key, edition.Version) {
		return edition.Agent{Upstream: "up"}, benchKey(i), 7
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	abort := start(t, s)
	for i := range 100 {
		k := benchKey(i)
		k.AppID[0]++
		if err := s.Register(t.Context(), edition.Registration{Key: k, Upstream: "up"}); err != nil {
			t.Fatal(err)
		}
	}
	abort()
	return path
}

// start runs a store; abort closes its file under it, as a crash would, so
// that nothing is folded.
func start(t testing.TB, s *Store) (abort func()) {
	t.Helper()
	stop := make(chan struct{})
	s.fault = func(stage string) error {
		select {
		case <-stop:
			if stage == "begin" {
				return errAbort
			}
		default:
		}
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	return func() {
		t.Helper()
		close(stop)
		same := func(rs edition.Routes) edition.Routes { return rs }
		s.ChangeRoutes(t.Context(), edition.Holder{Owner: 1}, same) // it only wakes the loop
		k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
		s.Register(t.Context(), edition.Registration{Key: k}) // it cannot succeed
		if err := <-done; !errors.Is(err, errAbort) || !errors.Is(err, edition.ErrDisk) {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

var errAbort = errors.New("the test ends the store")

// refused checks that a file is refused, with its path, and left as it is.
func refused(t *testing.T, path string, want ...string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Path: path})
	if err == nil {
		s.Close()
		t.Fatal("the file was opened")
	}
	if !errors.Is(err, edition.ErrDamaged) {
		t.Fatalf("%v, want ErrDamaged", err)
	}
	for _, w := range append(want, path) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the file has changed")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files in the folder, want the one", len(entries))
	}
}

func TestOpenRefuses(t *testing.T) {
	file := func(t *testing.T, data []byte) string {
		path := filepath.Join(t.TempDir(), "edition.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, err := os.ReadFile(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	t.Run("empty", func(t *testing.T) { refused(t, file(t, nil), "empty") })
	t.Run("short", func(t *testing.T) { refused(t, file(t, []byte("edition"))) })
	t.Run("text", func(t *testing.T) { refused(t, file(t, bytes.Repeat([]byte("not a database\n"), 5000))) })
	t.Run("zeros", func(t *testing.T) { refused(t, file(t, make([]byte, 16*page))) })
	t.Run("truncated", func(t *testing.T) {
		for _, n := range []int{100, page, 2 * page, 2*page + 1, 4 * page, 20 * page} {
			refused(t, file(t, good[:n]))
		}
	})
	t.Run("odd length", func(t *testing.T) { refused(t, file(t, append(bytes.Clone(good), 0)), "multiple") })
	t.Run("both meta pages", func(t *testing.T) {
		bad := bytes.Clone(good)
		bad[pageHeader+20]++
		bad[page+pageHeader+20]++
		refused(t, file(t, bad), "meta")
	})
	t.Run("another program's", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "foreign.db")
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("apps"))
			if err != nil {
				return err
			}
			return b.Put([]byte("k"), []byte("v"))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		refused(t, path, "not a data file of this program")
	})
	t.Run("newer", func(t *testing.T) {
		path := file(t, good)
		edit(t, path, func(tx *bbolt.Tx) error {
			mark := make([]byte, headSize+10)
			seal(keyFormat, mark)
			mark[4] = fileFormat + 1
			return tx.Bucket(tableMeta).Put(keyFormat, mark)
		})
		refused(t, path, "format is 4")
	})
	t.Run("a record", func(t *testing.T) {
		for _, table := range [][]byte{tableApps, tableAgents, tableDue, tableUpstreams, journalName(1)} {
			path := file(t, good)
			edit(t, path, func(tx *bbolt.Tx) error {
				k, v := tx.Bucket(table).Cursor().First()
				bad := bytes.Clone(v)
				bad[len(bad)-1]++
				return tx.Bucket(table).Put(k, bad)
			})
			refused(t, path, "checksum")
		}
	})
}

func edit(t *testing.T, path string, f func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBits damages single bytes all over a file: it is refused, or, where
// the byte is of no use, works as before; it never ends the process.
func TestFlippedBits(t *testing.T) {
	path := filled(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := readMeta(good)
	used := int(m.pages) * int(m.pageSize)
	r := rand.New(rand.NewPCG(1, 2))
	refusals := 0
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(at int, b byte) {
		if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	for range 400 {
		at := r.IntN(used)
		put(at, good[at]^1<<r.IntN(8))
		s, err := Open(Options{Path: path})
		switch {
		case err == nil:
			for i := range 500 {
				if st, err := s.State(benchKey(i)); err != nil || st.Version != 7 {
					t.Fatal("a damaged file was opened and lost an event:", st, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		case errors.Is(err, edition.ErrDamaged):
			refusals++
		default:
			t.Fatal(err)
		}
		put(at, good[at])
	}
	if refusals < 100 {
		t.Errorf("only %d of 400 damaged files were refused", refusals)
	}
}

func TestLocked(t *testing.T) {
	if path := os.Getenv("EDITION_TEST_LOCKED"); path != "" {
		_, err := Open(Options{Path: path})
		if !errors.Is(err, edition.ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Fatal(err)
		}
		if pid := strconv.Itoa(os.Getppid()); !strings.Contains(err.Error(), pid) {
			if _, err := os.Stat("/proc/locks"); err == nil {
				t.Fatalf("%q does not name process %s", err, pid)
			}
		}
		return
	}
	s, _ := run(t, Options{})
	child := exec.Command(os.Args[0], "-test.run=^TestLocked$")
	child.Env = append(os.Environ(), "EDITION_TEST_LOCKED="+s.path)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := Open(Options{Path: s.path}); !errors.Is(err, edition.ErrLocked) {
		t.Fatal("opened twice in one process:", err)
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := Open(Options{Path: filepath.Join(t.TempDir(), "nowhere", "edition.db")}); !errors.Is(err, edition.ErrConfig) {
		t.Error("in a folder that is not there:", err)
	}
	if _, err := Open(Options{Path: t.TempDir()}); !errors.Is(err, edition.ErrConfig) {
		t.Error("a folder:", err)
	}
	if _, err := Open(Options{Path: filepath.Join(t.TempDir(), "edition.db"), Sync: "never"}); !errors.Is(err, edition.ErrConfig) {
		t.Error("an unknown sync:", err)
	}
}

// TestHalfMade finds what a process that died at its first start has left.
func TestHalfMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edition.db")
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := run(t, Options{Path: path})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("the half file is still there")
	}
	if s.ID() == "" {
		t.Error("no id")
	}
}

func FuzzJournal(f *testing.F) {
	c := new(commit)
	c.reset()
	sh := new(shard)
	r := row{flags: isLive | mustPend, owner: 3, up: 1, since: 1}
	r.pend(5, 10, 100)
	sh.bodies = map[edition.Key]*edition.Body{benchKey(1): {AppID: benchKey(2).AppID, Encoding: "aes128gcm", Data: []byte("opaque")}}
	c.journal(sh, sh.insert(benchKey(1), r))
	sh.bodies[benchKey(3)] = &edition.Body{Withdrawn: true}
	r.carry(sh.bodies[benchKey(3)])
	c.journal(sh, sh.insert(benchKey(3), r))
	c.journalAgent(benchKey(1).UAID, &agent{owner: 1, seen: 5, routes: edition.Routes{{Driver: "udp", Target: []byte("1"), Confirm: "C"}, {Driver: "fcm"}}})
	f.Add(c.value[headSize:])
	f.Add([]byte{recordRow})
	f.Add(binary.AppendUvarint([]byte{recordAgent}, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, again := 0, []byte(nil)
		err := readJournal(b, func(k edition.Key, r row) {
			rows++
			again = appendRow(appendKey(append(again, recordRow), k), &r, inTable, 0)
		}, func(u edition.UAID, a *agent) {
			again = appendAgent(append(append(again, recordAgent), u[:]...), a)
		}, func(k edition.Key, b *edition.Body) {
			again = appendBodyRecord(again, k, b)
		})
		if err != nil {
			return
		}
		// What was read can be written and read again.
		n := 0
		if err := readJournal(again, func(edition.Key, row) { n++ }, func(edition.UAID, *agent) {}, func(edition.Key, *edition.Body) {}); err != nil || n != rows {
			t.Fatalf("%d rows, then %d: %v", rows, n, err)
		}
		readParty(b) // it must not panic
	})
}
