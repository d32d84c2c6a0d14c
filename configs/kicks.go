package configs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/nearest"
	"github.com/edition-push/edition/kickdrivers"
)

// LoadKick reads one entry of the list of kick drivers, out of the
// configuration of either role: that of this name, or else the first of a
// driver of this name. What else is in the file is not looked at, and may be
// wrong. keys, which may be nil, are put on top of the entry's own; without a
// file they make one.
//
// Faults are an [Error]; a name that no entry has is edition.ErrUsage.
func LoadKick(file, name string, keys map[string]any) (kickdrivers.Entry, error) {
	list, where, err := kicksOf(file)
	if err != nil {
		return kickdrivers.Entry{}, newError(Source{File: file}, lines{}, []string{err.Error()})
	}
	if list == nil && len(keys) > 0 {
		list = []map[string]any{{"driver": name}}
	} else if list == nil {
		list = kickdrivers.Default()
	}
	i := find(list, name)
	if i < 0 {
		return kickdrivers.Entry{}, noKick(list, name)
	}
	entry := maps.Clone(list[i])
	maps.Copy(entry, keys)
	entries, err := kickdrivers.Decode([]map[string]any{entry})
	if err == nil {
		return entries[0], nil
	}
	faults := leavesOfError(err)
	for j, f := range faults { // the entry is alone here, and the i-th in the file
		faults[j] = strings.Replace(f, "kicks[0]", fmt.Sprintf("kicks[%d]", i), 1)
	}
	return kickdrivers.Entry{}, newError(Source{File: file}, where, faults)
}

// kicksOf returns the list as the environment or the file say it, or nil.
func kicksOf(file string) (list []map[string]any, where lines, err error) {
	m, root, err := readFile(file)
	if err != nil {
		return nil, lines{}, err
	}
	said := m["kicks"]
	if text := os.Getenv(EnvName("kicks")); text != "" {
		if err := yaml.Unmarshal([]byte(text), &said); err != nil {
			return nil, lines{}, fmt.Errorf("%s is not YAML: %w", EnvName("kicks"), err)
		}
	}
	if said == nil {
		return nil, lines{}, nil
	}
	entries, ok := said.([]any)
	if !ok {
		return nil, lines{}, errors.New("kicks is not a list")
	}
	list = make([]map[string]any, 0, len(entries))
	for i, e := range entries {
		entry, ok := e.(map[string]any)
		if !ok {
			return nil, lines{}, fmt.Errorf("kicks[%d] is not a group of keys", i)
		}
		list = append(list, entry)
	}
	return list, lines{root: root}, nil
}

func find(list []map[string]any, name string) int {
	if i := slices.IndexFunc(list, func(e map[string]any) bool { return nameOf(e) == name }); i >= 0 {
		return i
	}
	return slices.IndexFunc(list, func(e map[string]any) bool { return e["driver"] == name })
}

// nameOf is an entry's name, which is its driver's where it has none.
func nameOf(entry map[string]any) string {
	name, _ := entry["name"].(string)
	driver, _ := entry["driver"].(string)
	return cmp.Or(name, driver)
}

func noKick(list []map[string]any, name string) error {
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, nameOf(e))
	}
	hint := "there are " + strings.Join(names, ", ")
	if near := nearest.Word(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	if len(names) == 0 {
		hint = "the list is empty"
	}
	return fmt.Errorf("%w: no entry of kicks is named %q, nor has that driver; %s", edition.ErrUsage, name, hint)
}
