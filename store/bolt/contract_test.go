package bolt

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/storetest"
)

func TestContract(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) edition.Store {
			s, _ := run(t, Options{})
			return s
		})
	})
	// Everything is folded and dropped from memory all the time.
	t.Run("in tables", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) edition.Store {
			s, _ := run(t, Options{MemoryRows: 1, JournalBytes: 1})
			return s
		})
	})
}

// TestMain makes random tests short, unless somebody says otherwise.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); os.Getenv("EDITION_LONG") == "" && f.Value.String() == f.DefValue {
		if err := f.Value.Set("25"); err != nil {
			panic(err)
		}
	}
	if err := flag.Set("rapid.nofailfile", "true"); err != nil { // a seed is enough
		panic(err)
	}
	code := m.Run()
	for _, file := range files {
		os.RemoveAll(filepath.Dir(file)) // the system removes it some day
	}
	os.Exit(code)
}

func TestRandom(t *testing.T) {
	for name, o := range map[string]Options{
		"in memory":  {},
		"in tables":  {MemoryRows: 1, JournalBytes: 1},
		"in between": {MemoryRows: 8, JournalBytes: 500},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Random(t, func(t *testing.T, now func() time.Time) storetest.Instance {
				o := o
				o.Path = filepath.Join(t.TempDir(), "edition.db")
				o.TTL, o.Now, o.Sync = storetest.TTL, now, SyncInterval // faster
				s, stop := run(t, o)
				return storetest.Instance{
					Store: s,
					Restart: func() edition.Store {
						stop()
						s, stop = run(t, o)
						return s
					},
					Close: func() { stop() },
				}
			})
		})
	}
}
