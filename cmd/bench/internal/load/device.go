package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
)

// Device is one WebSocket connection (RFC 6455) of a device. Read is for one
// goroutine, the writing methods for another or the same.
type Device struct {
	conn net.Conn
	buf  []byte // Owned by Read: buf[from:] has been read and not used.
	from int
	out  []byte // Owned by the writer.
}

const (
	// wsKey is a constant: the server's answer to it is one too. It protects
	// from caching proxies, of which there is none here.
	wsKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	wsAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 §1.3

	deviceBuffer = 512 // what an UPDATE with one event fits in
)

// DialDevice connects and upgrades. header lines are added to the request.
func DialDevice(addr, path, subprotocol string, header http.Header) (*Device, error) {
	conn, err := net.Dial("tcp", addr) //nolint:noctx // loopback
	if err != nil {
		return nil, err
	}
	d := &Device{conn: conn, buf: make([]byte, 0, deviceBuffer)}
	if err := d.upgrade(path, subprotocol, header); err != nil {
		conn.Close()
		return nil, err
	}
	return d, nil
}

func (d *Device) upgrade(path, subprotocol string, header http.Header) error {
	var req bytes.Buffer
	fmt.Fprintf(&req, "GET %s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", path, wsKey)
	if subprotocol != "" {
		fmt.Fprintf(&req, "Sec-WebSocket-Protocol: %s\r\n", subprotocol)
	}
	header.Write(&req) //nolint:errcheck // a buffer
	req.WriteString("\r\n")
	if _, err := d.conn.Write(req.Bytes()); err != nil {
		return err
	}
	end := -1
	for end < 0 {
		if err := d.fill(); err != nil {
			return err
		}
		end = bytes.Index(d.buf, endOfHead)
	}
	head := d.buf[:end+2]
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(head, []byte(wsAccept)) {
		return fmt.Errorf("the upgrade was refused: %.200q", head)
	}
	d.from = end + 4
	return nil
}

// Close closes the connection without a word.
func (d *Device) Close() { d.conn.Close() }

// fill reads more bytes behind those in the buffer.
func (d *Device) fill() error {
	if d.from > 0 {
		d.buf = d.buf[:copy(d.buf, d.buf[d.from:])]
		d.from = 0
	}
	if len(d.buf) == cap(d.buf) {
		d.buf = slices.Grow(d.buf, len(d.buf))
	}
	n, err := d.conn.Read(d.buf[len(d.buf):cap(d.buf)])
	d.buf = d.buf[:len(d.buf)+n]
	return noEOF(err)
}

// Read returns the next text message; it is valid until the next call. Pings
// are answered by the way.
func (d *Device) Read() ([]byte, error) {
	for {
		op, payload, err := d.frame()
		if err != nil {
			return nil, err
		}
		switch op {
		case 0x1:
			return payload, nil
		case 0x9:
			if err := d.write(0xa, payload); err != nil {
				return nil, err
			}
		case 0xa:
		case 0x8:
			if len(payload) >= 2 {
				return nil, fmt.Errorf("closed with %d %.100q", binary.BigEndian.Uint16(payload), payload[2:])
			}
			return nil, errors.New("closed")
		default:
			return nil, fmt.Errorf("unexpected opcode %#x", op)
		}
	}
}

// frame returns one unfragmented, unmasked frame.
func (d *Device) frame() (op byte, payload []byte, err error) {
	for {
		if op, payload, n, err := cutFrame(d.buf[d.from:]); n > 0 || err != nil {
			d.from += n
			return op, payload, err
		}
		if err := d.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// cutFrame returns the frame at the start of b and its size, 0 when there is
// not yet a whole one.
func cutFrame(b []byte) (op byte, payload []byte, size int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, nil, 0, fmt.Errorf("a fragmented, reserved or masked frame: % x", b[:2])
	}
	head, length := 2, uint64(b[1])
	switch {
	case length == 126 && len(b) >= 4:
		head, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127 && len(b) >= 10:
		head, length = 10, binary.BigEndian.Uint64(b[2:])
	case length >= 126:
		return 0, nil, 0, nil
	}
	if uint64(len(b)-head) < length {
		return 0, nil, 0, nil
	}
	size = head + int(length)
	return b[0] & 0x0f, b[head:size], size, nil
}

// Write sends a text message.
func (d *Device) Write(text []byte) error { return d.write(0x1, text) }

func (d *Device) write(op byte, payload []byte) error {
	d.out = appendFrame(d.out[:0], op, payload)
	_, err := d.conn.Write(d.out)
	return err
}

// appendFrame masks with zeros, which changes nothing and is allowed.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	if n := len(payload); n < 126 {
		dst = append(dst, 0x80|byte(n))
	} else if n < 1<<16 {
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	} else {
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}

// lastNumber returns the digits that stand last in a message, its version when
// there is one event in it.
func lastNumber(msg []byte) (uint64, error) {
	end := len(msg)
	for end > 0 && (msg[end-1] < '0' || msg[end-1] > '9') {
		end--
	}
	start := end
	for start > 0 && '0' <= msg[start-1] && msg[start-1] <= '9' {
		start--
	}
	n, err := strconv.ParseUint(string(msg[start:end]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("no version in %.80q", msg)
	}
	return n, nil
}
