//go:build !unix

package session

import "syscall"

const canTryWrite = false

func tryWrite(syscall.RawConn, []byte) (int, error) { return 0, nil }
