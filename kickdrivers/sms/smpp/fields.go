package smpp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errBody is a body that is not what its command says.
var errBody = errors.New("smpp: malformed body")

// TLV is an optional parameter (section 3.2.4.1).
type TLV struct {
	Tag   uint16
	Value []byte
}

// The optional parameters that are read (section 5.3.2).
const (
	TagReceiptedID  uint16 = 0x001e // receipted_message_id, 5.3.2.12
	TagVersion      uint16 = 0x0210 // sc_interface_version, 5.3.2.25
	TagPayload      uint16 = 0x0424 // message_payload, 5.3.2.32
	TagMessageState uint16 = 0x0427 // message_state, 5.3.2.35
)

func find(tlvs []TLV, tag uint16) ([]byte, bool) {
	at := slices.IndexFunc(tlvs, func(t TLV) bool { return t.Tag == tag })
	if at < 0 {
		return nil, false
	}
	return tlvs[at].Value, true
}

// reader takes a body apart. After the first fault all it gives is zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{errBody}, args...)...)
		r.rest = nil
	}
}

func (r *reader) octet(field string) byte {
	if len(r.rest) == 0 {
		r.fail("%s is missing", field)
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// text reads a C-octet string of at most limit octets, its NUL included.
func (r *reader) text(field string, limit int) string {
	head := r.rest[:min(limit, len(r.rest))]
	end := slices.Index(head, 0)
	if end < 0 {
		r.fail("%s has no end within %d octets", field, limit)
		return ""
	}
	r.rest = r.rest[end+1:]
	return string(head[:end])
}

// octets reads n octets into memory of their own.
func (r *reader) octets(field string, n int) []byte {
	if n > len(r.rest) {
		r.fail("%s is cut off", field)
		return nil
	}
	b := slices.Clone(r.rest[:n])
	r.rest = r.rest[n:]
	return b
}

// tlvs reads what is left. A parameter that is cut off is a fault.
func (r *reader) tlvs() (all []TLV) {
	for r.err == nil && len(r.rest) > 0 {
		if len(r.rest) < 4 {
			r.fail("an optional parameter is cut off")
			return nil
		}
		tag, n := binary.BigEndian.Uint16(r.rest), int(binary.BigEndian.Uint16(r.rest[2:]))
		r.rest = r.rest[4:]
		all = append(all, TLV{tag, r.octets("an optional parameter", n)})
	}
	return all
}

// writer puts a body together. It remembers the first value that cannot be
// written.
type writer struct {
	b   []byte
	err error
}

func (w *writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("smpp: "+format, args...)
	}
}

func (w *writer) octets(b ...byte) { w.b = append(w.b, b...) }

// text writes a C-octet string of at most limit octets, its NUL included.
func (w *writer) text(field, s string, limit int) {
	if len(s) >= limit {
		w.fail("%s is longer than %d octets", field, limit-1)
	}
	if strings.IndexByte(s, 0) >= 0 {
		w.fail("%s has a NUL in it", field)
	}
	w.b = append(append(w.b, s...), 0)
}

func (w *writer) tlvs(all []TLV) {
	for _, t := range all {
		if len(t.Value) > 0xffff {
			w.fail("optional parameter 0x%04x is longer than 65535 octets", t.Tag)
		}
		w.b = binary.BigEndian.AppendUint16(w.b, t.Tag)
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(t.Value)))
		w.b = append(w.b, t.Value...)
	}
}

func (w *writer) body() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	return w.b, nil
}
