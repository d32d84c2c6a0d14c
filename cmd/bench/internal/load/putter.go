// Package load is a load generator that costs little: keep-alive HTTP/1.1
// publishers and WebSocket devices over plain connections, closed loops and
// paced open loops, and histograms of what was seen. It checks every answer.
// It speaks just enough of both protocols for the servers that edition bench
// measures, and is no client for anything else.
package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Putter is one keep-alive connection of an app server. Its methods are for
// one goroutine.
type Putter struct {
	conn net.Conn
	req  []byte
	buf  []byte
}

// DialPutter connects to a server.
func DialPutter(addr string) (*Putter, error) {
	conn, err := net.Dial("tcp", addr) //nolint:noctx // loopback
	if err != nil {
		return nil, err
	}
	return &Putter{conn: conn, req: make([]byte, 0, 512), buf: make([]byte, 2048)}, nil
}

// Close closes the connection.
func (p *Putter) Close() { p.conn.Close() }

const putHead = " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "

// Put sends one version to a path and returns the status of the answer.
func (p *Putter) Put(path []byte, version uint64) (status int, err error) {
	var digits [20]byte
	v := strconv.AppendUint(digits[:0], version, 10)
	req := append(append(append(p.req[:0], "PUT "...), path...), putHead...)
	req = strconv.AppendInt(req, int64(len("version=")+len(v)), 10)
	req = append(append(req, "\r\n\r\nversion="...), v...)
	p.req = req
	if _, err := p.conn.Write(req); err != nil {
		return 0, err
	}
	return p.readAnswer()
}

var (
	endOfHead = []byte("\r\n\r\n")
	lengthKey = []byte("\r\nContent-Length: ")
)

// readAnswer reads one response with a Content-Length. Nothing may follow it,
// as only one request is under way.
func (p *Putter) readAnswer() (int, error) {
	n, end := 0, -1
	for end < 0 {
		if n == len(p.buf) {
			return 0, errors.New("the head of an answer is too long")
		}
		m, err := p.conn.Read(p.buf[n:])
		if n += m; err != nil {
			return 0, noEOF(err)
		}
		end = bytes.Index(p.buf[:n], endOfHead)
	}
	head := p.buf[:end+2]
	if len(head) < len("HTTP/1.1 200") || string(head[:9]) != "HTTP/1.1 " {
		return 0, fmt.Errorf("not an HTTP/1.1 answer: %.40q", head)
	}
	status, err := strconv.Atoi(string(head[9:12]))
	if err != nil {
		return 0, fmt.Errorf("not an HTTP/1.1 answer: %.40q", head)
	}
	_, rest, ok := bytes.Cut(head, lengthKey)
	digits, _, _ := bytes.Cut(rest, []byte{'\r'})
	if !ok {
		return 0, fmt.Errorf("an answer without Content-Length: %.80q", head)
	}
	length, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0, err
	}
	if missing := end + 4 + length - n; missing > 0 {
		_, err = io.CopyN(io.Discard, p.conn, int64(missing))
	} else if missing < 0 {
		err = errors.New("more than one answer came")
	}
	return status, noEOF(err)
}

func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // Read returns it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
