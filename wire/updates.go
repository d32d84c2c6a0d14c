package wire

import (
	"strconv"

	"github.com/edition-push/edition"
)

// Updates is an [edition.Update] in its wire form
// {"<uaid>":{"<appid>":41,…},…}. It is sorted and names a key once. In the
// place of an AppID there may be the slot of a message.
type Updates edition.Update

// AppendJSON appends the wire form. Events of one UAID must stand together.
func (u Updates) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i, e := range u {
		switch {
		case i == 0:
			dst = appendAgent(dst, e.UAID)
		case e.UAID != u[i-1].UAID:
			dst = appendAgent(append(dst, '}', ','), e.UAID)
		default:
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst, _ = e.AppID.AppendText(dst)
		dst = append(dst, '"', ':')
		dst = strconv.AppendUint(dst, uint64(e.Version), 10)
	}
	if len(u) > 0 {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendAgent(dst []byte, uaid edition.UAID) []byte {
	dst = append(dst, '"')
	dst, _ = uaid.AppendText(dst)
	return append(dst, '"', ':', '{')
}

// MarshalJSON is [Updates.AppendJSON].
func (u Updates) MarshalJSON() ([]byte, error) {
	return u.AppendJSON(make([]byte, 0, 2+len(u)*100)), nil
}

// UnmarshalJSON reads the wire form. A UAID, AppID or version that is none is
// ErrMalformed. Of a key given twice, in whatever order and case, the greatest
// version counts.
func (u *Updates) UnmarshalJSON(b []byte) error {
	if fast, rest, ok := parseUpdates((*u)[:0], b); ok && len(rest) == 0 {
		*u = fast
		return nil
	}
	flat := edition.Update((*u)[:0])
	if string(b) == "null" {
		b = []byte("{}")
	}
	err := EachMember(b, func(name string, apps []byte) error {
		uaid, err := edition.ParseUAID(name)
		if err != nil {
			return err
		}
		return EachMember(apps, func(name string, value []byte) error {
			app, err := edition.ParseSlot(name)
			if err != nil {
				return err
			}
			v, err := edition.ParseVersion(value)
			flat = append(flat, edition.Event{Key: edition.Key{UAID: uaid, AppID: app}, Version: v})
			return err
		})
	})
	if err != nil {
		return err
	}
	*u = Updates(flat.Normalize())
	return nil
}

// parseUpdates reads the form that AppendJSON writes, without blanks or
// escapes and in ascending order, from the start of b. Anything else is not
// ok, and left to encoding/json.
func parseUpdates(dst Updates, b []byte) (_ Updates, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != '{' {
		return dst, b, false
	}
	if b[1] == '}' {
		return dst, b[2:], true
	}
	for sep := byte('{'); b[0] == sep; sep = ',' {
		// "<36>":{ …
		if len(b) < 41 || b[1] != '"' || b[38] != '"' || b[39] != ':' || b[40] != '{' {
			return dst, b, false
		}
		uaid, err := edition.ParseUAID(b[2:38])
		if err != nil {
			return dst, b, false
		}
		b = b[40:]
		for sep := byte('{'); len(b) > 0 && b[0] == sep; sep = ',' {
			if len(b) < 42 || b[1] != '"' || b[38] != '"' || b[39] != ':' {
				return dst, b, false
			}
			app, err := edition.ParseSlot(b[2:38])
			if err != nil {
				return dst, b, false
			}
			b = b[40:]
			n := 0
			for n < len(b) && n < 20 && '0' <= b[n] && b[n] <= '9' {
				n++
			}
			v, err := edition.ParseVersion(b[:n])
			if err != nil {
				return dst, b, false
			}
			b = b[n:]
			e := edition.Event{Key: edition.Key{UAID: uaid, AppID: app}, Version: v}
			if len(dst) > 0 && dst[len(dst)-1].Key.Compare(e.Key) >= 0 {
				return dst, b, false
			}
			dst = append(dst, e)
		}
		if len(b) < 2 || b[0] != '}' {
			return dst, b, false
		}
		b = b[1:]
	}
	if b[0] != '}' {
		return dst, b, false
	}
	return dst, b[1:], true
}
