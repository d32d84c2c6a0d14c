//go:build unix

package serve

import (
	"os/signal"
	"syscall"
)

// surviveFileLimit makes a write beyond the file size limit (ulimit -f) an
// error, EFBIG, that the store takes for a full disk, instead of the end of the
// process.
func surviveFileLimit() { signal.Ignore(syscall.SIGXFSZ) }
