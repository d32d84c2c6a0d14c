package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/edition-push/edition"
)

// The hot path is one UPDATE and one ack an event. Both are written by hand,
// and an ack in the form that AppendAck writes is read by hand, as is the hello
// of one device; everything else goes through encoding/json, and means the same
// (see the fuzz target).

const (
	updateHead = `{"type":"update","id":`
	updateMid  = `,"updates":`
	ackHead    = `{"type":"ack",`
	ackStored  = `"state":"stored",`
	ackMid     = `"updates":`
	helloHead  = `{"type":"hello","agents":[{"uaid":"`
	helloMid   = `","secret":"`
	helloTail  = `"}]}`
)

// AppendUpdate appends the message {"type":"update","id":…,"updates":{…}}.
func AppendUpdate(dst []byte, id uint64, u edition.Update) []byte {
	dst = append(dst, updateHead...)
	dst = strconv.AppendUint(dst, id, 10)
	dst = append(dst, updateMid...)
	return append(Updates(u).AppendJSON(dst), '}')
}

// AppendAck appends the ack that names versions: {"type":"ack","updates":{…}},
// or with "state":"stored".
func AppendAck(dst []byte, stored bool, u edition.Update) []byte {
	dst = append(dst, ackHead...)
	if stored {
		dst = append(dst, ackStored...)
	}
	dst = append(dst, ackMid...)
	return append(Updates(u).AppendJSON(dst), '}')
}

// Decode reads one message into m, whose slices it reuses. Text that is not
// one JSON object with the fields' types is ErrMalformed. Unknown fields are
// ignored, names are taken in any case, and of a repeated one the last counts,
// as encoding/json has it; senders write lower case, once.
func Decode(b []byte, m *Message) error {
	updates := m.Updates[:0]
	*m = Message{}
	if decodeAck(b, m, updates) || decodeUpdate(b, m, updates) || decodeHello(b, m) {
		return nil
	}
	*m = Message{}
	if err := json.Unmarshal(b, m); err != nil {
		return jsonError(err)
	}
	if m.Type == "" {
		return fmt.Errorf(`%w: a message is a JSON object with a "type"`, edition.ErrMalformed)
	}
	return m.check()
}

func decodeAck(b []byte, m *Message, buf Updates) bool {
	b, ok := bytes.CutPrefix(b, []byte(ackHead))
	if !ok {
		return false
	}
	if b, ok = bytes.CutPrefix(b, []byte(ackStored)); ok {
		m.State = AckStored
	}
	if b, ok = bytes.CutPrefix(b, []byte(ackMid)); !ok {
		return false
	}
	m.Type = TypeAck
	m.Updates, b, ok = parseUpdates(buf, b)
	return ok && string(b) == "}"
}

// decodeHello reads the hello of one device, as encoding/json writes it: many
// devices come back at once after an outage.
func decodeHello(b []byte, m *Message) bool {
	b, ok := bytes.CutPrefix(b, []byte(helloHead))
	if !ok || len(b) < 36 {
		return false
	}
	uaid, err := edition.ParseUAID(b[:36])
	if err != nil {
		return false
	}
	if b, ok = bytes.CutPrefix(b[36:], []byte(helloMid)); !ok {
		return false
	}
	if b, ok = bytes.CutSuffix(b, []byte(helloTail)); !ok || len(b) > 64 {
		return false
	}
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	m.Type, m.Agents = TypeHello, []Agent{{UAID: uaid, Secret: string(b)}}
	return true
}

func decodeUpdate(b []byte, m *Message, buf Updates) bool {
	b, ok := bytes.CutPrefix(b, []byte(updateHead))
	if !ok {
		return false
	}
	n := 0
	for n < len(b) && n < 19 && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	id, err := edition.ParseVersion(b[:n])
	if err != nil {
		return false
	}
	if b, ok = bytes.CutPrefix(b[n:], []byte(updateMid)); !ok {
		return false
	}
	m.Type, m.ID = TypeUpdate, uint64(id)
	m.Updates, b, ok = parseUpdates(buf, b)
	return ok && string(b) == "}"
}

// DecodeJSON reads exactly one JSON value into v, a request or an answer of
// this package. A syntax error, a wrong type and bytes behind the value are
// ErrMalformed, the end of an http.MaxBytesReader is ErrTooLarge, an error of
// the reader that wraps a known one stays that.
func DecodeJSON(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	if err := d.Decode(v); err != nil {
		return jsonError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("%w: something follows the JSON value", edition.ErrMalformed)
		}
		return jsonError(err)
	}
	if c, ok := v.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

func jsonError(err error) error {
	if Status(err) != http.StatusInternalServerError {
		return err
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("%w: a body has at most %d bytes", edition.ErrTooLarge, large.Limit)
	}
	return fmt.Errorf("%w: %w", edition.ErrMalformed, err)
}
