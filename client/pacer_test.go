package client

import (
	"testing"
	"time"
)

// TestPacer: a few looks follow each other at once, then one a second, and
// rest earns them back.
func TestPacer(t *testing.T) {
	var p pacer
	now := time.Now()
	for i, want := range []time.Duration{0, 0, wakeGap} {
		if got := p.wait(now); got != want {
			t.Errorf("look %d: wait %v, want %v", i, got, want)
		}
	}
	now = now.Add(wakeGap)
	if got := p.wait(now); got != wakeGap {
		t.Errorf("one a second: wait %v", got)
	}
	now = now.Add(time.Hour)
	if got := p.wait(now); got != 0 {
		t.Errorf("after a rest: wait %v", got)
	}
	if got := p.wait(now); got != 0 {
		t.Errorf("the second after a rest: wait %v", got)
	}
	if got := p.wait(now); got != wakeGap {
		t.Errorf("the third after a rest: wait %v", got)
	}
}
