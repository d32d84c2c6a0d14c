package mqtt_test

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edition-push/edition/kickdrivers"
)

// TestReadme has the configuration of README.md read: all its keys exist. The
// files that it names do not.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Config\n")
	_, section, _ = strings.Cut(section, "```yaml\n")
	section, _, found := strings.Cut(section, "```")
	var entries []map[string]any
	if err := yaml.Unmarshal([]byte(section), &entries); err != nil || !found || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	_, err = kickdrivers.Decode(entries)
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(line, "no such file") && !strings.Contains(line, "cannot find the") {
			t.Error(line)
		}
	}
}
