package mqtt

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

// template is the operator's text with places for what a device says. It is
// written like a text/template, but nothing in it is executed.
type template struct {
	parts  []part
	fields []string // in order of first use, without confirm
	max    int      // bytes when all that is filled in is the longest possible
}

// part is a literal, or the name of a field.
type part struct {
	text  string
	field string
}

// confirmField stands for the code that a device has to repeat.
const (
	confirmField = "confirm"
	maxConfirm   = 8
)

// validField is the name of a field: what a device calls it in its target.
// driver is the entry's name there.
var validField = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// parseTemplate reads a text with fields such as {{.client}}.
func parseTemplate(text string) (template, error) {
	if text == "" {
		return template{}, errors.New("is empty")
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return template{}, errors.New("is not text")
	}
	trees, err := parse.Parse("text", text, "", "")
	if err != nil {
		return template{}, err
	}
	tree := trees["text"]
	if tree == nil || len(trees) != 1 {
		return template{}, errors.New("is not one text")
	}
	var t template
	for _, n := range tree.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			t.parts = append(t.parts, part{text: string(n.Text)})
			t.max += len(n.Text)
		case *parse.ActionNode:
			name := fieldName(n)
			if !validField.MatchString(name) || name == "driver" {
				return template{}, fmt.Errorf("%s is not a field such as {{.client}}", n)
			}
			t.add(name)
		default:
			return template{}, fmt.Errorf("%s is not a field such as {{.client}}", n)
		}
	}
	return t, nil
}

func (t *template) add(name string) {
	t.parts = append(t.parts, part{field: name})
	if name == confirmField {
		t.max += maxConfirm
		return
	}
	t.max += maxValue
	if !slices.Contains(t.fields, name) {
		t.fields = append(t.fields, name)
	}
}

// has reports whether a field occurs.
func (t *template) has(name string) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.field == name })
}

// fieldName is x of an action that is just {{.x}}, else empty.
func fieldName(n *parse.ActionNode) string {
	if len(n.Pipe.Decl) != 0 || len(n.Pipe.Cmds) != 1 || len(n.Pipe.Cmds[0].Args) != 1 {
		return ""
	}
	f, ok := n.Pipe.Cmds[0].Args[0].(*parse.FieldNode)
	if !ok || len(f.Ident) != 1 {
		return ""
	}
	return f.Ident[0]
}

// fill returns the text for one device.
func (t *template) fill(values target, confirm string) string {
	var out strings.Builder
	for _, p := range t.parts {
		switch p.field {
		case "":
			out.WriteString(p.text)
		case confirmField:
			out.WriteString(confirm)
		default:
			out.WriteString(values[p.field])
		}
	}
	return out.String()
}
