package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/edition-push/edition"
)

var errObject = fmt.Errorf("%w: not one JSON object", edition.ErrMalformed)

// EachMember calls do for each member of the one JSON object that b is, in
// order, also for repeated names, which encoding/json hides. value is the
// member's own text. It returns the first error of do; what is not one object
// is ErrMalformed.
func EachMember(b []byte, do func(name string, value []byte) error) error {
	if isFlat(b) {
		return eachFlat(b, do)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errObject
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return errObject
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return errObject
		}
		if err := do(name.(string), value); err != nil {
			return err
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return errObject
	}
	if _, err := d.Token(); err != io.EOF {
		return errObject
	}
	return nil
}
