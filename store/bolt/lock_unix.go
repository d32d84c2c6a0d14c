//go:build unix

package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/edition-push/edition"
)

// lock takes the lock that bbolt takes, on the same open file, before the file
// is looked at: what another process is writing must not be judged.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return errLocked(f)
	case err != nil:
		return fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return nil
}

// errLocked says who holds a file, as far as the system tells.
func errLocked(f *os.File) error {
	if pid := holder(f); pid > 0 {
		return fmt.Errorf("%w: %s is held by process %d", edition.ErrLocked, f.Name(), pid)
	}
	return fmt.Errorf("%w: %s is held by another process", edition.ErrLocked, f.Name())
}

// holder returns the process that has locked a file, or 0, by the lines of
// Linux's /proc/locks: "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131074 0 EOF".
func holder(f *os.File) int {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	// The list is read in parts, and one that changes between two of them may
	// come without a line.
	for range 8 {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			return 0
		}
		if pid := holderIn(locks, id); pid > 0 {
			return pid
		}
	}
	return 0
}

func holderIn(locks []byte, id string) int {
	for line := range bytes.Lines(locks) {
		fields := bytes.Fields(line)
		if len(fields) < 6 || string(fields[1]) != "FLOCK" || string(fields[5]) != id {
			continue
		}
		if pid, err := strconv.Atoi(string(fields[4])); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}

// mapFile maps the beginning of a file for reading.
func mapFile(f *os.File, size int) (data []byte, unmap func(), err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("mapping it: %w", err)
	}
	return data, func() { unix.Munmap(data) }, nil //nolint:errcheck // it was only read
}
