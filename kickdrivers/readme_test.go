package kickdrivers_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition/kickdrivers"
)

// TestReadmes has every driver's README.md read: it has the headings that all
// have, and all keys of its configuration exist. The files that are named
// there do not.
func TestReadmes(t *testing.T) {
	for _, kind := range kickdrivers.Kinds() {
		t.Run(kind, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(kind, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			var headings []string
			for line := range strings.Lines(string(text)) {
				if h, ok := strings.CutPrefix(line, "## "); ok {
					headings = append(headings, strings.TrimSpace(h))
				}
			}
			want := []string{"What it does", "How to use it", "Config", "What the device registers", "What it sends", "Errors", "Metrics"}
			if !slices.Equal(headings, want) {
				t.Errorf("headings %q, want %q", headings, want)
			}
			_, section, _ := strings.Cut(string(text), "\n## Config\n")
			_, section, _ = strings.Cut(section, "```yaml\n")
			section, _, found := strings.Cut(section, "```")
			var entries []map[string]any
			if err := yaml.Unmarshal([]byte(section), &entries); err != nil || !found || len(entries) == 0 {
				t.Fatalf("%d entries, %v", len(entries), err)
			}
			if _, err = kickdrivers.Decode(entries); err == nil {
				return
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.Contains(line, "no such file") && !strings.Contains(line, "cannot find the") {
					t.Error(line)
				}
			}
		})
	}
}
