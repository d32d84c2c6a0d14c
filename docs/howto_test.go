package docs_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// TestPolicies reads the policies.json that is shown for Firefox.
func TestPolicies(t *testing.T) {
	for _, name := range []string{"../README.md", "firefox.md"} {
		found := false
		for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(read(t, name), -1) {
			var file struct {
				Policies struct {
					Preferences map[string]struct{ Value, Status string }
				}
			}
			if err := json.Unmarshal([]byte(block[1]), &file); err != nil {
				t.Errorf("%s: %v\n%s", name, err, block[1])
				continue
			}
			p := file.Policies.Preferences["dom.push.serverURL"]
			found = found || strings.HasPrefix(p.Value, "wss://") && p.Status == "locked"
		}
		if !found {
			t.Errorf("%s shows no policies.json with dom.push.serverURL", name)
		}
	}
}
