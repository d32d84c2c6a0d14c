// Package docs_test holds the documents to the code: examples decode, links
// lead somewhere, lists of metrics and dependencies are complete.
package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/wire"
)

// TestProtocolExamples decodes every JSON line of protocol.md into the type of
// package wire that carries it, and back: no field may be unknown or get lost.
func TestProtocolExamples(t *testing.T) {
	requests := map[string]func() any{
		wire.PathRegister:   func() any { return new(wire.RegisterRequest) },
		wire.PathUnregister: func() any { return new(wire.RegisterRequest) },
		wire.PathKick:       func() any { return new(wire.RegisterRequest) },
		wire.PathUpdate:     func() any { return new(wire.UpdateRequest) },
		wire.PathAck:        func() any { return new(wire.AckRequest) },
	}
	answers := map[string]func() any{
		wire.PathRegister: func() any { return new(wire.RegisterResponse) },
		wire.PathKick:     func() any { return new(wire.KickResponse) },
		wire.PathUpdate:   func() any { return new(wire.UpdateResponse) },
	}
	types := make(map[string]bool)
	path, fenced := "", false
	for line := range strings.Lines(read(t, "protocol.md")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			path, fenced = "", !fenced
		}
		if p, ok := strings.CutPrefix(line, "POST "); ok && fenced {
			path = p
		}
		text, sent := strings.CutPrefix(line, "→ ")
		if !sent {
			text, _ = strings.CutPrefix(line, "← ")
			text, _ = strings.CutPrefix(text, "data: ")
		}
		if !fenced || !strings.HasPrefix(text, "{") {
			continue
		}
		var into any
		switch {
		case path != "" && sent:
			into = requests[path]()
		case path != "":
			into = answers[path]()
		case strings.Contains(text, `"type"`):
			m := new(wire.Message)
			if err := wire.Decode([]byte(text), m); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			types[m.Type] = true
			into = new(wire.Message)
		default:
			into = new(map[string]any)
		}
		roundTrip(t, text, into)
	}
	for _, want := range []string{
		wire.TypeHello, wire.TypeRegister, wire.TypeUnregister, wire.TypeKick, wire.TypeUpdate,
		wire.TypeAck, wire.TypeRefuse, wire.TypeWake, wire.TypeWoken, wire.TypePing, wire.TypePong, wire.TypeError,
	} {
		if !types[want] {
			t.Errorf("protocol.md has no example of a message of type %s", want)
		}
	}
}

func roundTrip(t *testing.T, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	back, err := json.Marshal(into)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	var had, has any
	if json.Unmarshal([]byte(text), &had) != nil || json.Unmarshal(back, &has) != nil || !reflect.DeepEqual(had, has) {
		t.Errorf("%s\ncomes back as\n%s", text, back)
	}
}

// TestProtocolProof recomputes the proof of the examples from their secret.
func TestProtocolProof(t *testing.T) {
	text := read(t, "protocol.md")
	secret := regexp.MustCompile(`"secret":"([^"]+)"`).FindStringSubmatch(text)
	proof := regexp.MustCompile(`"proof":"([^"]+)"`).FindStringSubmatch(text)
	if secret == nil || proof == nil {
		t.Fatal("protocol.md shows no secret or no proof")
	}
	p, err := edition.ProofOf(secret[1])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.MarshalText(); err != nil || string(got) != proof[1] {
		t.Errorf("the proof of %s is %s (%v), protocol.md says %s", secret[1], got, err, proof[1])
	}
}

// TestProtocolClaims reads the header of the event stream that is shown.
func TestProtocolClaims(t *testing.T) {
	text := read(t, "protocol.md")
	header := regexp.MustCompile(`(?m)^Authorization: (Edition \S{20,})$`).FindStringSubmatch(text)
	if header == nil {
		t.Fatal("protocol.md shows no claims")
	}
	agents, err := wire.ParseClaims(header[1])
	if err != nil || len(agents) != 1 || !strings.Contains(text, `{"uaid":"`+agents[0].UAID.String()+`","secret":"`+agents[0].Secret+`"}`) {
		t.Errorf("%+v (%v)", agents, err)
	}
}

// TestLinks follows every relative link of every document.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	n := 0
	for _, name := range documents(t) {
		text := read(t, name)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			n++
			file := filepath.Join(filepath.Dir(name), target)
			if target == "" {
				file = name
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s: %s has no heading #%s", name, file, anchor)
			}
		}
	}
	if n == 0 {
		t.Error("no document has a link")
	}
}

// anchors returns the names by which headings can be linked to, as GitHub and
// others make them.
func anchors(text string) []string {
	var found []string
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			title = drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			found = append(found, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return found
}

// TestConfigurations loads every configuration that a document shows. Only the
// files that it names may be missing, and what an excerpt leaves out.
func TestConfigurations(t *testing.T) {
	leftOut := regexp.MustCompile(`no such file|is not the name of an entry of kicks|upstreams: empty`)
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	n := 0
	for _, name := range []string{"kicks.md", "carriers.md", "gateway.md", "operations.md", "../README.md"} {
		for _, m := range block.FindAllStringSubmatch(read(t, name), -1) {
			file := filepath.Join(t.TempDir(), "edition.yaml")
			if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if strings.Contains(m[1], "upstream") {
				_, err = configs.LoadRelay(configs.Source{File: file})
			} else {
				_, err = configs.LoadServer(configs.Source{File: file})
			}
			n++
			wrong, isFaults := errors.AsType[*configs.Error](err)
			if err != nil && !isFaults {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for i := 0; err != nil && i < len(wrong.Faults); i++ {
				if f := wrong.Faults[i].String(); !leftOut.MatchString(f) {
					t.Errorf("%s: %s\n%s", name, f, m[1])
				}
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d configurations were found", n)
	}
}

// TestMetrics compares the metrics that the code makes with the list in
// operations.md.
func TestMetrics(t *testing.T) {
	name := regexp.MustCompile(`"(edition_[a-z0-9_]+)"`)
	made := make(map[string]bool)
	walk(t, "..", ".go", func(file string, text []byte) {
		if strings.HasSuffix(file, "_test.go") || !bytes.Contains(text, []byte("promauto")) && !bytes.Contains(text, []byte("prometheus.New")) {
			return
		}
		for _, m := range name.FindAllSubmatch(text, -1) {
			made[string(m[1])] = true
		}
	})
	told := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `(edition_[a-z0-9_]+)").FindAllStringSubmatch(read(t, "operations.md"), -1) {
		told[m[1]] = true
	}
	for m := range made {
		if !told[m] {
			t.Errorf("operations.md does not list the metric %s", m)
		}
	}
	for m := range told {
		if !made[m] {
			t.Errorf("operations.md lists %s, which no code makes", m)
		}
	}
	if len(made) == 0 {
		t.Error("no code makes a metric")
	}
}

// TestDependencies compares dependencies.md with what go.mod and tools/go.mod
// ask for.
func TestDependencies(t *testing.T) {
	text := read(t, "dependencies.md")
	mod := read(t, "../go.mod")
	var asked []string
	for _, m := range regexp.MustCompile(`(?m)^\s+([a-z]\S+) v\S+$`).FindAllStringSubmatch(mod, -1) {
		asked = append(asked, m[1])
	}
	tools := regexp.MustCompile(`(?s)\ntool \((.*?)\)`).FindStringSubmatch(read(t, "../tools/go.mod"))
	if tools == nil {
		t.Fatal("tools/go.mod has no tools")
	}
	for tool := range strings.FieldsSeq(tools[1]) {
		module, _, _ := strings.Cut(tool, "/cmd/")
		asked = append(asked, module)
	}
	if len(asked) < 2 {
		t.Fatal("no dependencies found in go.mod")
	}
	for _, m := range asked {
		if !strings.Contains(text, "| `"+m+"` |") {
			t.Errorf("dependencies.md does not list %s", m)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(text, -1) {
		if !slices.Contains(asked, m[1]) {
			t.Errorf("dependencies.md lists %s, which no go.mod asks for", m[1])
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	var names []string
	walk(t, "..", ".md", func(file string, _ []byte) { names = append(names, file) })
	return names
}

func walk(t *testing.T, root, ext string, f func(file string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it was temporary
		case err != nil:
			return err
		}
		if d.IsDir() {
			if d.Name() == "testdata" || d.Name() == "bin" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && name != root {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ext {
			return nil
		}
		text, err := os.ReadFile(name)
		if err == nil {
			f(name, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
