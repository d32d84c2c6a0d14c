package configs

import (
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// lines finds the lines of keys in a configuration file. The zero lines know
// none.
type lines struct {
	root *yaml.Node
	set  map[string]any // Source.Set: what is not said by the file
}

// step is one part of a key path: the name of a key, or [n].
var step = regexp.MustCompile(`^(?:([A-Za-z0-9_-]+)|\[(\d+)\])\.?`)

// of returns the line of what a fault speaks of: of the key itself, or, where a
// key is missing, of the entry that lacks it. 0 says that the file does not say
// it.
func (l lines) of(fault string) int {
	if l.root == nil {
		return 0
	}
	at, line, path := l.root, 0, ""
	// A driver's key paths are relative to its entry: kicks[1] (x): networks[0]: …
	for part := range strings.SplitSeq(label.ReplaceAllString(fault, ""), ": ") {
		for part != "" {
			m := step.FindStringSubmatch(part)
			if m == nil {
				return line
			}
			part = part[len(m[0]):]
			if m[1] != "" {
				path = strings.TrimPrefix(path+"."+m[1], ".")
				if l.overridden(path) {
					return 0
				}
			}
			var key *yaml.Node
			if key, at = descend(at, m[1], m[2]); at == nil {
				return line
			}
			line = key.Line
		}
	}
	return line
}

// overridden reports whether a key that is no group comes from a flag or the
// environment.
func (l lines) overridden(path string) bool {
	_, flag := l.set[path]
	return flag || os.Getenv(EnvName(path)) != ""
}

// descend returns the node below at of that name, or of that number, and the
// node where it begins.
func descend(at *yaml.Node, name, number string) (key, value *yaml.Node) {
	at = resolved(at)
	switch {
	case at.Kind == yaml.SequenceNode && number != "":
		if n, err := strconv.Atoi(number); err == nil && n < len(at.Content) {
			return at.Content[n], at.Content[n]
		}
	case at.Kind == yaml.MappingNode && name != "":
		for i := 0; i+1 < len(at.Content); i += 2 {
			if strings.EqualFold(at.Content[i].Value, name) {
				return at.Content[i], at.Content[i+1]
			}
		}
		return merged(at, name)
	}
	return nil, nil
}

// merged looks for a key in what "<<" brings into a mapping.
func merged(at *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(at.Content); i += 2 {
		if at.Content[i].Tag != "!!merge" {
			continue
		}
		from := []*yaml.Node{at.Content[i+1]}
		if list := resolved(from[0]); list.Kind == yaml.SequenceNode {
			from = list.Content
		}
		for _, f := range from {
			if key, value = descend(f, name, ""); value != nil {
				return key, value
			}
		}
	}
	return nil, nil
}

// resolved follows aliases and the document to what they stand for.
func resolved(n *yaml.Node) *yaml.Node {
	switch {
	case n.Kind == yaml.AliasNode:
		return resolved(n.Alias)
	case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
		return resolved(n.Content[0])
	}
	return n
}
