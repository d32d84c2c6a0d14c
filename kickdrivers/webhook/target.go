package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/edition-push/edition"
)

// target is what a device registers and what is stored.
type target struct {
	ID string `json:"id"`
	// Data has text, numbers and truth values only.
	Data map[string]any `json:"data,omitempty"`
}

// maxID is the greatest length of an id, in bytes.
const maxID = 256

// parse reads a target that this configuration allows.
func (d *Driver) parse(raw json.RawMessage) (target, error) {
	var t target
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // a number stays as it was written
	if err := dec.Decode(&t); err != nil || !json.Valid(raw) {
		return t, fmt.Errorf(`%w: the target is not an object such as {"id":"lamp-7","data":{"room":12}}`, edition.ErrMalformed)
	}
	if t.ID == "" || len(t.ID) > maxID || strings.ContainsFunc(t.ID, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return t, fmt.Errorf("%w: id is not 1 to %d bytes of printable text", edition.ErrMalformed, maxID)
	}
	for key, v := range t.Data {
		switch v.(type) {
		case string, json.Number, bool:
		default:
			return t, fmt.Errorf("%w: data: %.80q is not text, a number, or true or false", edition.ErrMalformed, key)
		}
	}
	if len(t.Data) > 0 {
		b, err := json.Marshal(t.Data)
		if err != nil {
			return t, fmt.Errorf("%w: data: %w", edition.ErrMalformed, err)
		}
		if len(b) > d.conf.MaxData {
			return t, fmt.Errorf("%w: data has %d bytes, %d are allowed", edition.ErrForbidden, len(b), d.conf.MaxData)
		}
	}
	if d.made.allow != nil && !d.made.allow.MatchString(t.ID) {
		return t, fmt.Errorf("%w: the id is not one that the operator allows", edition.ErrForbidden)
	}
	return t, nil
}
