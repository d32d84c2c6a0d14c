package kickdrivers

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/edition-push/edition/internal/nearest"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// unknown says what may have been meant by a key that the struct has not. path
// leads to it, as in "networks[0].".
func unknown(into any, path, key string) error {
	t := reflect.TypeOf(into).Elem()
	known := append(keysOf(t), keysOf(reflect.TypeFor[common]())...)
	for name := range strings.SplitSeq(strings.TrimSuffix(path, "."), ".") {
		if name, _, _ = strings.Cut(name, "["); name == "" {
			continue
		}
		if t = below(t, name); t == nil {
			return fmt.Errorf("%s%s: unknown key", path, key)
		}
		known = keysOf(t)
	}
	if near := nearest.Word(key, known); near != "" {
		return fmt.Errorf("%s%s: unknown key; did you mean %s?", path, key, near)
	}
	return fmt.Errorf("%s%s: unknown key", path, key)
}

// keysOf returns the keys of a struct, and of those that are squashed into it.
func keysOf(t reflect.Type) (keys []string) {
	for f := range t.Fields() {
		switch key, options, _ := strings.Cut(f.Tag.Get("mapstructure"), ","); {
		case options == "squash":
			keys = append(keys, keysOf(f.Type)...)
		case key != "":
			keys = append(keys, key)
		}
	}
	return keys
}

// below returns the struct that a key of another holds, or holds a list of, or
// nil.
func below(t reflect.Type, name string) reflect.Type {
	for f := range t.Fields() {
		key, options, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		at := f.Type
		if options == "squash" {
			if at = below(at, name); at != nil {
				return at
			}
			continue
		}
		for at.Kind() == reflect.Slice || at.Kind() == reflect.Pointer {
			at = at.Elem()
		}
		if key == name && at.Kind() == reflect.Struct {
			return at
		}
	}
	return nil
}

// unknownDriver is unknown for the key driver.
func unknownDriver(kind string) error {
	if near := nearest.Word(kind, Kinds()); near != "" {
		return fmt.Errorf("driver: %q is not one; did you mean %s?", kind, near)
	}
	return fmt.Errorf("driver: %q is not one of %s", kind, strings.Join(Kinds(), ", "))
}

var errInline = errors.New("a secret is not written here: say {file: PATH} or {env: NAME}")

// secretOf refuses a secret that stands in the configuration itself, and does
// not repeat it.
func secretOf(from, to reflect.Type, v any) (any, error) {
	if to.Kind() == reflect.Slice && from.Kind() != reflect.Slice {
		to = to.Elem() // a list of them
	}
	if to == reflect.TypeFor[driver.Secret]() && from != to && from.Kind() != reflect.Map {
		return nil, errInline
	}
	return v, nil
}

// notCausedBy drops those faults of values that are about a key whose form is
// at fault already: it has kept its default.
func notCausedBy(form, values []error) []error {
	return slices.DeleteFunc(values, func(v error) bool {
		return slices.ContainsFunc(form, func(f error) bool { return keyOf(f) == keyOf(v) })
	})
}

// keyOf is the key path that a fault begins with.
func keyOf(fault error) string {
	path, _, _ := strings.Cut(fault.Error(), ": ")
	return path
}
