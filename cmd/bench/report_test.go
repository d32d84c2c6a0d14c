package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	r := newReport(true)
	r.ratio("a", "first", "µs", []float64{10, 30, 20}, []float64{10, 10, 10}, atMost(1.5))
	r.ratio("b", "second", "/s", []float64{90}, []float64{100}, atLeast(0.8))
	r.number("c", "third", "KB", []float64{9.5, 10.5}, atMost(10))
	r.info("d", "fourth", "ms", []float64{3})
	r.Took = 90 * time.Second
	if got := r.missed(); len(got) != 1 || got[0] != "a" {
		t.Errorf("missed %q, want a alone: medians count", got)
	}
	var text bytes.Buffer
	if err := r.writeTable(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	for i, want := range []string{
		"FIGURE MEASURED REFERENCE RATIO LIMIT WHAT",
		"a 20.0 µs 10.0 µs 2.00 ≤ 1.5 × MISSED first",
		"b 90.0 /s 100 /s 0.90 ≥ 0.8 × ok second",
		"c 10.0 KB ≤ 10.0 KB ok third",
		"d 3.00 ms fourth",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d: got %q, want %q", i, got, want)
		}
	}
	var b bytes.Buffer
	if err := r.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if f := back.Figures[1]; f.Name != "b" || *f.Ratio != 0.9 || !*f.OK || f.Limit.AtLeast != 0.8 {
		t.Errorf("got %s", b.String())
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		x    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.x); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.x, got, c.want)
		}
	}
}

// TestKeySpace checks that keys rise, are valid, and are the same each time.
func TestKeySpace(t *testing.T) {
	for _, n := range []int{1, 2, 1000, 5_000_000} {
		last := keySpace(n).at(0)
		for i := 1; i < min(n, 1000); i++ {
			k := keySpace(n).at(n - min(n, 1000) + i)
			if last.Compare(k) >= 0 {
				t.Fatalf("%d keys: key %d does not rise", n, i)
			}
			last = k
		}
		back := last
		if err := back.UAID.UnmarshalText([]byte(last.UAID.String())); err != nil {
			t.Errorf("%d keys: %v", n, err)
		}
		if err := back.AppID.UnmarshalText([]byte(last.AppID.String())); err != nil {
			t.Errorf("%d keys: %v", n, err)
		}
	}
}
