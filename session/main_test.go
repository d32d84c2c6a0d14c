package session

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(settling{m}) }

// settling gives goroutines that are about to end the time that they need,
// however slow the machine is.
type settling struct{ *testing.M }

func (m settling) Run() int {
	code := m.M.Run()
	for end := time.Now().Add(patient); goleak.Find() != nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return code
}
