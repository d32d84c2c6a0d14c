// Package e2e holds tests only: the promises, checked from outside on the real
// binary, over real sockets, with processes that are killed. Its client speaks
// the wire protocol by itself, so that a mistake in package client or wire
// does not hide one in the server.
package e2e
