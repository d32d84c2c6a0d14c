// Package leak finds the goroutines that tests leave behind. It gives those that
// are about to end the time that they need, however slow the machine is.
package leak

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds the wait for goroutines that do not end at all.
const patience = time.Minute

// Main is for TestMain: it runs a package's tests, and fails when goroutines are
// left over. It ends the process.
func Main(m *testing.M) { goleak.VerifyTestMain(settling{m}) }

type settling struct{ *testing.M }

func (m settling) Run() int {
	code := m.M.Run()
	if code == 0 {
		settle()
	}
	return code
}

// None fails a test that leaves goroutines behind, but for those that the
// options name. It is to be deferred, before what it checks begins.
func None(t testing.TB, options ...goleak.Option) {
	t.Helper()
	settle(options...)
	goleak.VerifyNone(t, options...)
}

func settle(options ...goleak.Option) {
	for end := time.Now().Add(patience); goleak.Find(options...) != nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}
