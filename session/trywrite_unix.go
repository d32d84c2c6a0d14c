//go:build unix

package session

import (
	"errors"
	"sync"
	"syscall"
)

const canTryWrite = true

// attempt is one non-blocking write. It is pooled with its function, which
// would else be made for each write.
type attempt struct {
	b   []byte
	n   int
	err error
	fn  func(fd uintptr) bool
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.fn = a.write
	return a
}}

func (a *attempt) write(fd uintptr) bool {
	a.n, a.err = syscall.Write(int(fd), a.b)
	return true // never wait
}

// tryWrite writes as much of b as the socket takes at once, maybe nothing.
func tryWrite(raw syscall.RawConn, b []byte) (n int, err error) {
	a := attempts.Get().(*attempt)
	a.b = b
	if err = raw.Write(a.fn); err == nil {
		n, err = max(a.n, 0), a.err
	}
	a.b, a.n, a.err = nil, 0, nil
	attempts.Put(a)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		err = nil
	}
	return n, err
}
