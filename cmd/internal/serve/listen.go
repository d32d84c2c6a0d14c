package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
)

// listen opens a TCP address; the flag is named in what to do about a failure.
func listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	return listenFor(ctx, addr, "choose another address with --"+flag)
}

// listenFor opens a TCP address; hint is what to do about a failure.
func listenFor(ctx context.Context, addr, hint string) (net.Listener, error) {
	// No keep-alive of TCP: sessions ping at a rate that suits batteries, and
	// requests have their times.
	lc := net.ListenConfig{KeepAlive: -1}
	l, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another process has it: stop that one, or " + hint
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 need a privilege: grant it, or " + hint
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "it is not an address of this machine: " + hint
	}
	return nil, fmt.Errorf("%w on %s: %w; %s", edition.ErrListen, addr, rootCause(err), hint)
}

// rootCause drops the words "listen tcp 127.0.0.1:1: bind:" that repeat what
// the message says already.
func rootCause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// urlOf returns the URL by which this machine reaches a listener. One on all
// addresses is reached on the loopback one.
func urlOf(l net.Listener, c configs.TLS) string {
	scheme := "http"
	if c.CertFile != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return scheme + "://" + l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
