package mqtt

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/edition-push/edition"
)

// target is what a device says of itself: a value for each field of the
// templates. It is stored as the JSON of this map, whose keys are sorted.
type target map[string]string

// maxValue is the greatest length of a value, in bytes.
const maxValue = 64

// validValue keeps a device inside the level of the topic that the operator
// gave it: no separator, no wildcard, nothing that brokers read otherwise.
var validValue = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// parse reads the fields that the templates need; others are not looked at.
func (d *Driver) parse(raw json.RawMessage) (target, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil || all == nil {
		return nil, fmt.Errorf(`%w: the target is not an object such as {%q:"lamp-7"}`, edition.ErrMalformed, d.fields[0])
	}
	t := make(target, len(d.fields))
	for _, name := range d.fields {
		var value string
		if err := json.Unmarshal(all[name], &value); err != nil || all[name] == nil {
			return nil, fmt.Errorf("%w: the target has no text %q", edition.ErrMalformed, name)
		}
		if !validValue.MatchString(value) {
			return nil, fmt.Errorf("%w: %s is not 1 to %d of A-Z a-z 0-9 . _ : - that begin with a letter or digit", edition.ErrMalformed, name, maxValue)
		}
		t[name] = value
	}
	return t, nil
}

// Check accepts an object with a text for each field of the operator's
// templates, {"client":"lamp-7"} as it comes: 1 to 64 letters, digits and
// . _ : -, of which the first is a letter or digit.
func (d *Driver) Check(raw json.RawMessage, _ netip.Addr, _ int) (json.RawMessage, error) {
	t, err := d.parse(raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

// Aim is the topic.
func (d *Driver) Aim(raw json.RawMessage) string {
	t, err := d.parse(raw)
	if err != nil {
		return ""
	}
	return d.topic.fill(t, "")
}
