package mem_test

import (
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) edition.Store { return mem.New(mem.Options{}) })
}
