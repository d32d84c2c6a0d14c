package publish

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience begins waits at all times: each lasts the limit, and a quarter
// more at most.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20 * time.Second
		p := patience{limit: limit}
		for range 100 {
			start := time.Now()
			over := p.from(start)
			go func() {
				<-over
				if took := time.Since(start); took < limit || took > limit+limit/4 {
					t.Errorf("a wait took %v", took)
				}
			}()
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(2 * limit)
	})
}
