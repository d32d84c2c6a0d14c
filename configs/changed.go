package configs

import (
	"maps"
	"reflect"
	"slices"
)

// Changed returns the keys, dotted and in order, in which two configurations of
// one role differ.
func Changed[C Server | Relay](a, b C) []string {
	was, is := leavesOf(&a), leavesOf(&b)
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if !reflect.DeepEqual(was[key], is[key]) {
			keys = append(keys, key)
		}
	}
	return keys
}
