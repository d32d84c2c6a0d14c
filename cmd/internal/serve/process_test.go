package serve

import "testing"

// TestTrimmer: memory is given back once when work has ended, not while there
// is some, and not when there was none.
func TestTrimmer(t *testing.T) {
	var m memory
	tr := trimmer{read: func() memory { return m }}
	step := func(name string, allocated, held uint64, want bool) {
		t.Helper()
		m.allocated += allocated
		m.held = held
		if got := tr.wants(); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
	const mb = 1 << 20
	m.live = 10 * mb
	step("at the start", mb, 12*mb, false)
	step("busy", 100*mb, 90*mb, false)
	step("still busy", 50*mb, 120*mb, false)
	step("calm", mb, 120*mb, true)
	m.held = 11 * mb
	tr.done()
	step("trimmed", mb, 12*mb, false)
	step("a little work", 10*mb, 20*mb, false)
	step("calm after little", 0, 20*mb, false)
	step("nothing to give back", 30*mb, 20*mb, false)
	step("calm, nothing to give back", 0, 20*mb, false)
	if got := readMemory(); got.allocated == 0 || got.held == 0 {
		t.Errorf("the runtime says %+v", got)
	}
}
