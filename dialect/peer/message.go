package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/edition-push/edition"
)

// Read decodes a message, which is a JSON object, into a struct whose fields
// are json.RawMessage, so that a field of a wrong type is not an error yet.
// Names match without regard to case. It is false for anything else.
func Read(message []byte, into any) bool {
	b := bytes.TrimLeft(message, " \t\r\n")
	return len(b) > 0 && b[0] == '{' && json.Unmarshal(b, into) == nil
}

// IsEmpty reports whether a message is {}: a ping, in both dialects.
func IsEmpty(message []byte) bool {
	b := bytes.Trim(message, " \t\r\n")
	return len(b) >= 2 && b[0] == '{' && b[len(b)-1] == '}' && len(bytes.Trim(b[1:len(b)-1], " \t\r\n")) == 0
}

// Absent reports whether a field is not there, or null.
func Absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// Text reads a string. It is false for anything else.
func Text(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

// List reads an array. A field that is not there, or null, is an empty one; it
// is false for anything else.
func List(raw json.RawMessage) (items []json.RawMessage, ok bool) {
	if Absent(raw) {
		return nil, true
	}
	return items, raw[0] == '[' && json.Unmarshal(raw, &items) == nil
}

// Number reads a version: a JSON number, or a string of digits.
func Number(raw json.RawMessage) (edition.Version, bool) {
	if s, ok := Text(raw); ok {
		raw = json.RawMessage(s)
	}
	v, err := edition.ParseVersion([]byte(raw))
	return v, err == nil
}

// Kind reads a message's type, in lower case. It is false when that is no
// string; no type is "".
func Kind(raw json.RawMessage) (string, bool) {
	if Absent(raw) {
		return "", true
	}
	s, ok := Text(raw)
	return strings.ToLower(s), ok
}

// Echo returns a message with a status and an error, which is how SimplePush
// tells errors. It is false when the message is no object.
func Echo(message []byte, status int, text string) ([]byte, bool) {
	var m map[string]json.RawMessage
	if !Read(message, &m) {
		return nil, false
	}
	for name, value := range m {
		switch strings.ToLower(name) {
		case "status", "error":
			delete(m, name)
		case "messagetype":
			delete(m, name)
			if s, ok := Text(value); ok {
				value, _ = json.Marshal(strings.ToLower(s))
			}
			m["messageType"] = value
		}
	}
	m["status"], _ = json.Marshal(status)
	m["error"], _ = json.Marshal(text)
	b, err := json.Marshal(m)
	return b, err == nil
}

// Status is what an error is in the dialects, which know three.
func Status(err error) int {
	switch {
	case err == nil:
		return 200
	case errors.Is(err, edition.ErrMalformed), errors.Is(err, edition.ErrUnauthorized), errors.Is(err, edition.ErrForbidden):
		return 401
	case errors.Is(err, edition.ErrUnavailable), errors.Is(err, edition.ErrTooMany):
		return 503
	}
	return 500
}

// Marshal writes a message of strings and numbers.
func Marshal(m any) []byte {
	b, err := json.Marshal(m)
	if err != nil { // cannot be
		return []byte("{}")
	}
	return b
}
