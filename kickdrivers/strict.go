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
		DecodeHook:  mapstructure.ComposeDecodeHookFunc(secretOf, durationOf, shapeOf),
	})
	if err != nil {
		return []error{err}
	}
	return flatten(into, d.Decode(keys))
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

// shapeOf keeps a fraction from being cut off, and one value from being taken
// for a list.
func shapeOf(_, to reflect.Type, v any) (any, error) {
	if f, ok := v.(float64); ok && to.Kind() == reflect.Int && f != math.Trunc(f) {
		return nil, fmt.Errorf("%v is not a whole number", v)
	}
	if v != nil && to.Kind() == reflect.Slice && reflect.TypeOf(v).Kind() != reflect.Slice {
		return nil, fmt.Errorf("%#v is not a list", v)
	}
	return v, nil
}

// flatten lists the faults of a decoder into a struct, which come nested, as
// "path: what".
func flatten(into any, err error) []error {
	var all []error
	var walk func(error)
	walk = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range many.Unwrap() {
				walk(e)
			}
			return
		}
		if one, ok := err.(*mapstructure.DecodeError); ok { //nolint:errorlint // each level by itself
			all = append(all, named(into, one)...)
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

// named says what a fault is about. For unknown keys the decoder gives them
// all at once, and at the top level the struct's type as the path.
func named(into any, e *mapstructure.DecodeError) (all []error) {
	path, what := e.Name(), e.Unwrap()
	if keys, ok := strings.CutPrefix(what.Error(), "has invalid keys: "); ok {
		if path += "."; path == reflect.TypeOf(into).Elem().String()+"." {
			path = ""
		}
		for key := range strings.SplitSeq(keys, ", ") {
			all = append(all, unknown(into, path, key))
		}
		return all
	}
	if bad, ok := errors.AsType[*mapstructure.UnconvertibleTypeError](what); ok {
		what = fmt.Errorf("%#v is not a %s", bad.Value, kindOf(bad.Expected.Type()))
	}
	return []error{fmt.Errorf("%s: %w", path, what)}
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text: write it in quotes"
	case reflect.Int, reflect.Float64:
		return "number"
	case reflect.Bool:
		return "truth value: true or false"
	case reflect.Slice:
		return "list"
	}
	return "map of keys"
}
