//go:build !linux

package udp

// prepare does nothing: datagrams go one by one.
func (c *conn) prepare(string) error { return nil }
