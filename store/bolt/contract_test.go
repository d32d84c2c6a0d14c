package bolt

import (
	"testing"

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
