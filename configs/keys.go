package configs

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/edition-push/edition/internal/nearest"
)

// leavesOf returns every key of a configuration with its value, dotted: what
// is neither a struct nor below a list.
func leavesOf(cfg any) map[string]any {
	out := make(map[string]any)
	eachField(reflect.Indirect(reflect.ValueOf(cfg)), func(key string, v reflect.Value) {
		addLeaves(out, key, v)
	})
	return out
}

func addLeaves(out map[string]any, key string, v reflect.Value) {
	if v.Kind() != reflect.Struct {
		out[key] = v.Interface()
		return
	}
	eachField(v, func(name string, f reflect.Value) { addLeaves(out, key+"."+name, f) })
}

// eachField calls f for each field of a struct by its key, and for those of
// inlined structs as if they were its own.
func eachField(v reflect.Value, f func(key string, field reflect.Value)) {
	for i := range v.NumField() {
		key, opts, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if opts == "inline" {
			eachField(v.Field(i), f)
			continue
		}
		f(key, v.Field(i))
	}
}

// keysAt returns the keys that exist at a path such as "store" or
// "upstreams[0]".
func keysAt(cfg any, path string) []string {
	v := reflect.Indirect(reflect.ValueOf(cfg))
	for name := range strings.SplitSeq(path, ".") {
		name, _, item := strings.Cut(name, "[")
		if name == "" {
			continue
		}
		var next reflect.Value
		eachField(v, func(key string, f reflect.Value) {
			if key == name {
				next = f
			}
		})
		if item && next.IsValid() && next.Kind() == reflect.Slice {
			next = reflect.Zero(next.Type().Elem())
		}
		if !next.IsValid() || next.Kind() != reflect.Struct {
			return nil
		}
		v = next
	}
	var keys []string
	eachField(v, func(key string, _ reflect.Value) { keys = append(keys, key) })
	return keys
}

// strangeEnv finds variables that are nearly, but not, the name of a key.
// Others with the prefix are somebody else's.
func strangeEnv(keys, environ []string) (faults []string) {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = EnvName(k)
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		if near := nearest.Word(name, names); near != "" && near != name {
			faults = append(faults, fmt.Sprintf("%s: no such variable; did you mean %s?", name, near))
		}
	}
	return faults
}

// EnvName returns the environment variable of a key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// durationType is asked for by the decoder and by faults.
var durationType = reflect.TypeFor[time.Duration]()
