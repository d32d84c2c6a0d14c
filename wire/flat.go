package wire

import "errors"

// Most objects that are read member by member are flat: plain strings and
// decimal integers. They are read by hand, in two passes: one that makes sure,
// one that tells.

var errNotFlat = errors.New("not flat")

func isFlat(b []byte) bool { return eachFlat(b, nil) == nil }

// eachFlat is EachMember for objects whose names and values are strings of
// ASCII without escapes, or integers. Of others it returns errNotFlat, after
// having told of some members.
func eachFlat(b []byte, do func(name string, value []byte) error) error {
	b, ok := skip(b, '{')
	if !ok {
		return errNotFlat
	}
	if rest, ok := skip(b, '}'); ok {
		return flatEnd(rest)
	}
	for {
		name, rest := flatString(blanks(b))
		if name == nil {
			return errNotFlat
		}
		if b, ok = skip(rest, ':'); !ok {
			return errNotFlat
		}
		b = blanks(b)
		value, rest := flatString(b)
		if value == nil {
			if value, rest = flatInteger(b); value == nil {
				return errNotFlat
			}
		}
		if do != nil {
			if err := do(string(name[1:len(name)-1]), value); err != nil {
				return err
			}
		}
		if b, ok = skip(rest, ','); ok {
			continue
		}
		if b, ok = skip(rest, '}'); ok {
			return flatEnd(b)
		}
		return errNotFlat
	}
}

func flatEnd(b []byte) error {
	if len(blanks(b)) > 0 {
		return errNotFlat
	}
	return nil
}

// blanks cuts JSON's insignificant whitespace (RFC 8259 §2) from the start.
func blanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

func skip(b []byte, c byte) (rest []byte, ok bool) {
	if b = blanks(b); len(b) == 0 || b[0] != c {
		return b, false
	}
	return b[1:], true
}

// flatString returns a string at the start with its quotes, or nil.
func flatString(b []byte) (s, rest []byte) {
	if len(b) == 0 || b[0] != '"' {
		return nil, b
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[:i+1], b[i+1:]
		case c == '\\' || c < ' ' || c > '~':
			return nil, b
		}
	}
	return nil, b
}

// flatInteger returns digits at the start, or nil.
func flatInteger(b []byte) (n, rest []byte) {
	i := 0
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == 0 || b[0] == '0' && i > 1 {
		return nil, b
	}
	return b[:i], b[i:] // a fraction or exponent behind it is not skipped: not flat
}
