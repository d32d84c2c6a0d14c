package kickdrivers

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// strict decodes keys into a struct: an unknown key, a value of another type,
// a duration that is not written as one are faults, each with its key path.
func strict(keys map[string]any, into any) []error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      into,
		ErrorUnused: true,
		DecodeHook:  mapstructure.ComposeDecodeHookFunc(durationOf, wholeOf),
	})
	if err != nil {
		return []error{err}
	}
	return flatten(d.Decode(keys))
}

func durationOf(_, to reflect.Type, v any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return v, nil
	}
	switch v := v.(type) {
	case time.Duration:
		return v, nil
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d, nil
		}
	}
	return nil, fmt.Errorf(`%#v is not a duration such as "300ms" or "24h"`, v)
}

// wholeOf keeps a fraction from being cut off.
func wholeOf(_, to reflect.Type, v any) (any, error) {
	if f, ok := v.(float64); ok && to.Kind() == reflect.Int && f != math.Trunc(f) {
		return nil, fmt.Errorf("%v is not a whole number", v)
	}
	return v, nil
}

// flatten lists the faults of a decoder, which come nested, as "path: what".
func flatten(err error) []error {
	var all []error
	var walk func(error)
	walk = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each level by itself
			for _, e := range many.Unwrap() {
				walk(e)
			}
			return
		}
		if one, ok := err.(*mapstructure.DecodeError); ok { //nolint:errorlint // each level by itself
			all = append(all, named(one))
			return
		}
		if inner := errors.Unwrap(err); inner != nil {
			walk(inner)
			return
		}
		if err != nil {
			all = append(all, err)
		}
	}
	walk(err)
	return all
}

func named(e *mapstructure.DecodeError) error {
	// For the top level of a struct the decoder gives its type's name.
	path, what := e.Name(), e.Unwrap()
	if keys, ok := strings.CutPrefix(what.Error(), "has invalid keys: "); ok {
		if strings.HasPrefix(path, "kickdrivers.") || strings.HasSuffix(path, ".Config") {
			return fmt.Errorf("%s: unknown key", keys)
		}
		return fmt.Errorf("%s.{%s}: unknown key", path, keys)
	}
	if bad, ok := errors.AsType[*mapstructure.UnconvertibleTypeError](what); ok {
		return fmt.Errorf("%s: %#v is not a %s", path, bad.Value, kindOf(bad.Expected.Type()))
	}
	return fmt.Errorf("%s: %w", path, what)
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text: write it in quotes"
	case reflect.Int, reflect.Float64:
		return "number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list"
	}
	return "map of keys"
}
