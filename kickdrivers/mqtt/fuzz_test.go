package mqtt

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// FuzzTarget registers what a device may write: whatever is accepted stays
// within the levels of the topic that the template gives it.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		`{"client":"lamp-7","site":"north"}`, `{"client":"a/b","site":"+"}`, `{"client":"#","site":"$SYS"}`,
		`{"client":"a\u0000","site":"é"}`, `{"client":7,"site":null}`, `[]`,
	} {
		f.Add([]byte(s))
	}
	c := DefaultConfig()
	c.Topic = "sites/{{.site}}/{{.client}}/wake"
	var m compiled
	if faults := m.templates(c); len(faults) > 0 {
		f.Fatal(faults)
	}
	d := &Driver{topic: m.topic, payload: m.payload, fields: m.fields}
	f.Fuzz(func(t *testing.T, raw []byte) {
		stored, err := d.Check(raw, netip.Addr{}, 100)
		if err != nil {
			return
		}
		if again, err := d.Check(stored, netip.Addr{}, 100); err != nil || string(again) != string(stored) {
			t.Fatalf("%s is stored as %s, then as %s, %v", raw, stored, again, err)
		}
		got, err := d.message(driver.Kick{Target: stored})
		levels := strings.Split(got.topic, "/")
		if err != nil || len(levels) != 4 || levels[0] != "sites" || levels[3] != "wake" || strings.ContainsAny(got.topic, "+#$\x00 ") {
			t.Fatalf("%s leads to %q, %v", raw, got.topic, err)
		}
		if len(got.topic) > d.topic.max || d.Aim(stored) != got.topic {
			t.Fatalf("%q is longer than %d, or not the aim %q", got.topic, d.topic.max, d.Aim(stored))
		}
	})
}

// FuzzTemplate reads what an operator may write.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"edition/kick/{{.client}}", "{{.a}}{{.a}}{{.confirm}}", "{{/* */}}x", "{{.A}}", "{{if .a}}{{end}}", "{{define \"x\"}}{{end}}", "{{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := parseTemplate(text)
		if err != nil {
			return
		}
		values := make(target)
		for _, name := range tpl.fields {
			values[name] = strings.Repeat("x", maxValue)
		}
		if filled := tpl.fill(values, "K7TQ2MXB"); len(filled) != tpl.max {
			t.Fatalf("%q is %d bytes when filled in, not %d", text, len(filled), tpl.max)
		}
	})
}
