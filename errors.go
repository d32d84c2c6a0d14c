package edition

import (
	"errors"
	"time"
)

// What can go wrong between two parties, each with one status on the wire
// (package wire holds the table). Wrap them with what only the caller's
// function knows; test for them with [errors.Is].
var (
	ErrMalformed    = errors.New("malformed")
	ErrUnauthorized = errors.New("not proven")
	ErrForbidden    = errors.New("not allowed")
	ErrNotFound     = errors.New("not found")
	ErrMethod       = errors.New("method not allowed")
	ErrConflict     = errors.New("conflict")
	ErrGone         = errors.New("gone")
	ErrTooLarge     = errors.New("too large")
	ErrMediaType    = errors.New("unsupported content type")
	ErrTooMany      = errors.New("too many requests")
	ErrUnavailable  = errors.New("unavailable")
)

// What ends a process, each with one exit code (package main holds the table).
var (
	// ErrUsage is a command line that makes no sense.
	ErrUsage = errors.New("usage")
	// ErrConfig is a configuration that cannot be used.
	ErrConfig = errors.New("configuration")
	// ErrListen is an address that cannot be listened on.
	ErrListen = errors.New("cannot listen")
	// ErrDamaged is a data file that is damaged, foreign, or of a newer
	// format. It has been left as it was.
	ErrDamaged = errors.New("unusable data file")
	// ErrLocked is a data file that another process holds.
	ErrLocked = errors.New("data file is in use")
	// ErrDisk is a commit whose outcome is unknown.
	ErrDisk = errors.New("the disk failed under a commit")
)

// RetryError says when to come back. It wraps [ErrUnavailable] or [ErrTooMany].
type RetryError struct {
	Err   error
	After time.Duration // rounded up to seconds on the wire, at least 1
}

func (e *RetryError) Error() string { return e.Err.Error() }

func (e *RetryError) Unwrap() error { return e.Err }

// RetryAfter wraps err so that it says when to come back.
func RetryAfter(err error, after time.Duration) error { return &RetryError{Err: err, After: after} }
