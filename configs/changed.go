package configs

import (
	"maps"
	"reflect"
	"slices"
)

// UpstreamTokens is what Changed calls the tokens of upstreams.
const UpstreamTokens = "upstreams.token"

// Changed returns the keys, dotted and in order, in which two configurations of
// one role differ. Of upstreams the tokens count by themselves, as
// UpstreamTokens.
func Changed[C Server | Relay](a, b C) []string {
	was, is := leavesOf(&a), leavesOf(&b)
	splitTokens(was)
	splitTokens(is)
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if !reflect.DeepEqual(was[key], is[key]) {
			keys = append(keys, key)
		}
	}
	return keys
}

// splitTokens takes the tokens out of a list of upstreams.
func splitTokens(leaves map[string]any) {
	list, ok := leaves["upstreams"].([]Upstream)
	if !ok {
		return
	}
	list = slices.Clone(list)
	tokens := make(map[string]string, len(list))
	for i := range list {
		tokens[list[i].Name] = list[i].Token.Token()
		list[i].Token, list[i].TokenFile = "", ""
	}
	leaves["upstreams"], leaves[UpstreamTokens] = list, tokens
}
