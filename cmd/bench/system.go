package bench

import (
	"fmt"
	"syscall"
)

// tmpfsMagic is the type of a file system in memory (Linux, statfs(2)).
const tmpfsMagic = 0x01021994

// checkRoom says early what a run would fail of later: no room for its data
// files, or too few open files for its connections. It returns a note when the
// folder lies in memory, where a sync costs nothing.
func checkRoom(dir string, s sizes, stored bool) (note string, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	if need := uint64(s.Devices + s.Publishers + 500); uint64(limit.Cur) < need {
		return "", fmt.Errorf("%d open files are needed and %d are allowed: see ulimit -n", need, limit.Cur)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if int64(fs.Type) == tmpfsMagic {
		note = dir + " is in memory, where a sync costs nothing: name a folder on a disk with --dir"
	}
	if !stored {
		return note, nil
	}
	const perKey = 600 // bytes, our store and the bare one together
	need := uint64(s.Drain) * 2 * perKey
	for _, n := range s.Pending {
		need += uint64(n) * perKey
	}
	if free := uint64(fs.Bavail) * uint64(fs.Bsize); free < need {
		return "", fmt.Errorf("%s has %d MB free and %d MB may be needed: name another folder with --dir", dir, free>>20, need>>20)
	}
	return note, nil
}
