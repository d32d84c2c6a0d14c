package nearest

import "testing"

func TestWord(t *testing.T) {
	words := []string{"listen", "log", "udp", "webpush", "webhook", "target_rate"}
	for s, want := range map[string]string{
		"lisen":       "listen",
		"listne":      "listen",
		"upd":         "udp",
		"udp":         "udp",
		"webpsuh":     "webpush",
		"targetrate":  "target_rate",
		"target-rate": "target_rate",
		"lo":          "log",
		"apns":        "",
		"x":           "",
		"":            "",
		"something":   "",
	} {
		if got := Word(s, words); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := Word("udp", nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
