package configs

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition/internal/nearest"
)

// textToList reads lists and maps that come as text, from the environment.
func textToList(from, to reflect.Value) (any, error) {
	if from.Kind() != reflect.String || to.Kind() != reflect.Slice && to.Kind() != reflect.Map {
		return from.Interface(), nil
	}
	var v any
	if err := yaml.Unmarshal([]byte(from.String()), &v); err != nil {
		return nil, fmt.Errorf("not YAML or JSON: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if v == nil {
		return reflect.MakeSlice(reflect.TypeFor[[]any](), 0, 0).Interface(), nil
	}
	if reflect.TypeOf(v).Kind() != to.Kind() {
		return nil, fmt.Errorf("%s is not a %s", shown(from.String()), kindName(to.Type()))
	}
	return v, nil
}

// toDuration reads "30s". A bare number is refused: it would be nanoseconds.
func toDuration(from, to reflect.Value) (any, error) {
	if to.Type() != durationType || from.Type() == durationType {
		return from.Interface(), nil
	}
	text := fmt.Sprint(from.Interface())
	if text == "0" {
		return time.Duration(0), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a duration such as 500ms, 30s or 72h", shown(from.Interface()))
	}
	return d, nil
}

// strictKinds refuses what the decoder would bend: a fraction cut to a whole
// number, a group of keys taken for a list of one.
func strictKinds(from, to reflect.Value) (any, error) {
	fraction := to.CanInt() && to.Type() != durationType && from.CanFloat() && from.Float() != math.Trunc(from.Float())
	single := to.Kind() == reflect.Slice && from.Kind() != reflect.Slice
	group := to.Kind() == reflect.Struct && from.Kind() != reflect.Map && from.Type() != to.Type()
	if fraction || single || group {
		return nil, fmt.Errorf("%s is not a %s", shown(from.Interface()), kindName(to.Type()))
	}
	return from.Interface(), nil
}

// upstreamDefaults gives an entry of upstreams its defaults; the entry's own
// values come on top.
func upstreamDefaults(from, to reflect.Value) (any, error) {
	entry, ok := reflect.TypeAssert[map[string]any](from)
	if !ok || to.Type() != reflect.TypeFor[Upstream]() {
		return from.Interface(), nil
	}
	full := leavesOf(DefaultUpstream())
	maps.Copy(full, entry)
	return full, nil
}

// explain turns what the decoder found into faults: key path, value, reason.
func explain(cfg any, err error) (faults []string) {
	switch e := err.(type) { //nolint:errorlint // it walks the whole tree itself
	case nil:
		return nil
	case *mapstructure.DecodeError:
		return explainOne(cfg, e.Name(), e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			faults = append(faults, explain(cfg, inner)...)
		}
		return faults
	case interface{ Unwrap() error }:
		return explain(cfg, e.Unwrap())
	}
	return []string{err.Error()}
}

func explainOne(cfg any, path string, cause error) (faults []string) {
	if path == reflect.TypeOf(cfg).Elem().String() {
		path = "" // the decoder's name for the root
	}
	var parse *mapstructure.ParseError
	var kind *mapstructure.UnconvertibleTypeError
	switch {
	case errors.As(cause, &parse):
		return []string{fmt.Sprintf("%s: %s is not a %s", path, shown(parse.Value), kindName(parse.Expected.Type()))}
	case errors.As(cause, &kind):
		return []string{fmt.Sprintf("%s: %s is not a %s", path, shown(kind.Value), kindName(kind.Expected.Type()))}
	}
	if keys, ok := strings.CutPrefix(cause.Error(), "has invalid keys: "); ok {
		for key := range strings.SplitSeq(keys, ", ") {
			faults = append(faults, unknownKey(cfg, path, key))
		}
		return faults
	}
	return []string{path + ": " + cause.Error()}
}

func unknownKey(cfg any, path, key string) string {
	known := keysAt(cfg, path)
	full := strings.TrimPrefix(path+"."+key, ".")
	if near := nearest.Word(key, known); near != "" {
		return fmt.Sprintf("%s: no such key; did you mean %s?", full, near)
	}
	slices.Sort(known)
	return fmt.Sprintf("%s: no such key; there are %s", full, strings.Join(known, ", "))
}

// shown is a value as a fault quotes it, shortened.
func shown(v any) string {
	if text, ok := v.(string); ok {
		return fmt.Sprintf("%.60q", text)
	}
	return fmt.Sprintf("%.60s", fmt.Sprint(v))
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "group of keys"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}
