package configs

import (
	"fmt"
	"reflect"
	"strings"
	"time"
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
		if near := nearest(name, names); near != "" && near != name {
			faults = append(faults, fmt.Sprintf("%s: no such variable; did you mean %s?", name, near))
		}
	}
	return faults
}

// EnvName returns the environment variable of a key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// nearest returns the word that differs from s least, if that is by at most
// two letters and a third of the word, else nothing.
func nearest(s string, words []string) string {
	best, least := "", 3
	for _, w := range words {
		if d := distance(s, w); d < least && d*3 <= max(len(s), 3) {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}

// durationType is asked for by the decoder and by faults.
var durationType = reflect.TypeFor[time.Duration]()
