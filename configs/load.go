package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins every environment variable that sets a key: EDITION_, then
// the key in capitals with _ for dots, as in EDITION_STORE_TTL=24h. Lists are
// given as YAML or JSON. EDITION_CONFIG names a file, where no flag does.
const EnvPrefix = "EDITION_"

// Source says where to read from, beyond the defaults and the environment.
type Source struct {
	File string         // YAML or JSON; empty: none
	Set  map[string]any // keys set by flags, dotted
}

// LoadServer reads the configuration of a server. What is wrong with it is one
// [Error] that names every fault.
func LoadServer(src Source) (Server, error) {
	cfg := DefaultServer()
	where, faults, err := load(&cfg, src)
	if err != nil {
		return cfg, newError(src, lines{}, []string{err.Error()})
	}
	return cfg, newError(src, where, join(faults, cfg.check()))
}

// LoadRelay reads the configuration of a relay. What is wrong with it is one
// [Error] that names every fault.
func LoadRelay(src Source) (Relay, error) {
	cfg := DefaultRelay()
	where, faults, err := load(&cfg, src)
	if err != nil {
		return cfg, newError(src, lines{}, []string{err.Error()})
	}
	return cfg, newError(src, where, join(faults, cfg.check()))
}

// load fills cfg, a pointer to a role's defaults. It is the one place that
// knows viper, which is asked for the order of sources alone: it sees the
// file already parsed, every key has a default (without which it would not
// look at the environment), and keys that no struct has are refused.
//
// An error is a file that cannot be read at all.
func load(cfg any, src Source) (where lines, faults []string, err error) {
	v := viper.New()
	v.SetEnvPrefix(strings.TrimSuffix(EnvPrefix, "_"))
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AutomaticEnv()
	leaves := leavesOf(cfg)
	for key, value := range leaves {
		v.SetDefault(key, value)
	}
	file, root, err := readFile(src.File)
	if err != nil {
		return where, nil, err
	}
	for key, value := range file {
		if entries, ok := value.([]any); ok {
			file[key] = list(entries)
		}
	}
	if err := v.MergeConfigMap(file); err != nil {
		return where, nil, err
	}
	for key, value := range src.Set {
		v.Set(key, value)
	}
	faults = strangeEnv(slices.Sorted(maps.Keys(leaves)), os.Environ())
	err = v.UnmarshalExact(cfg, func(d *mapstructure.DecoderConfig) {
		d.TagName = "yaml"
		d.SquashTagOption = "inline"
		d.ZeroFields = true
		d.MatchName = func(key, field string) bool { return key == field }
		d.DecodeHook = mapstructure.ComposeDecodeHookFunc(textToList, strictKinds, toDuration, upstreamDefaults)
	})
	return lines{root: root, set: src.Set}, append(faults, explain(cfg, err)...), nil
}

// list is how viper gets a list: of a type that it does not know, or it would
// write the keys within in lower case.
type list []any

// join adds the faults of values to those of the form, without those that a
// fault of the form may have caused.
func join(form, values []string) []string {
	caused := func(v string) bool {
		return slices.ContainsFunc(form, func(f string) bool { return related(keyOf(f), keyOf(v)) })
	}
	return slices.Concat(form, slices.DeleteFunc(values, caused))
}

// label is the name of a list entry within a key path.
var label = regexp.MustCompile(` \([^)]*\)`)

// keyOf returns the key path that a fault begins with, of a list's entry the
// entry alone.
func keyOf(fault string) string {
	path, _, _ := strings.Cut(label.ReplaceAllString(fault, ""), ": ")
	if i := strings.IndexByte(path, ']'); i >= 0 {
		path = path[:i+1]
	}
	return path
}

func related(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".") ||
		strings.HasPrefix(a, b+"[") || strings.HasPrefix(b, a+"[")
}

// readFile parses a configuration file; root knows the lines of it. Keys without
// a value are left out, as if they were not there.
func readFile(path string) (m map[string]any, root *yaml.Node, err error) {
	if path == "" {
		return nil, nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	root = new(yaml.Node)
	d := yaml.NewDecoder(bytes.NewReader(text))
	err = d.Decode(root)
	if err == nil {
		err = root.Decode(&m)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("not YAML: more than one document in the file")
	}
	dropNulls(m)
	return m, root, nil
}

func dropNulls(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case nil:
			delete(m, k)
		case map[string]any:
			dropNulls(v)
		}
	}
}
