//go:build !unix

package bolt

import (
	"fmt"
	"os"

	"github.com/edition-push/edition"
)

// lock leaves locking to bbolt.
func lock(*os.File) error { return nil }

func errLocked(f *os.File) error {
	return fmt.Errorf("%w: %s is held by another process", edition.ErrLocked, f.Name())
}

// mapFile reads the beginning of a file.
func mapFile(f *os.File, size int) (data []byte, unmap func(), err error) {
	data = make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, nil, err
	}
	return data, func() {}, nil
}
