package configs

import (
	"log/slog"
	"strings"
)

// hidden is what a secret prints as, everywhere.
const hidden = "<secret>"

// Secret is a value that is not shown: in text, JSON, YAML and logs it prints
// as <secret>, or as nothing when it is empty.
type Secret string

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// Tokens returns the tokens in the value, one a line: the first is the one to
// be shown, all are accepted.
func (s Secret) Tokens() []string { return strings.Fields(string(s)) }

// Token returns the first of Tokens, or "".
func (s Secret) Token() string {
	for token := range strings.FieldsSeq(string(s)) {
		return token
	}
	return ""
}

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the value from JSON and other encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML hides the value from YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
