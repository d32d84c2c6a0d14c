package exec

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

// TestNotStartedInTime has the time be over before the program is started: that
// says nothing of the program, which is there.
func TestNotStartedInTime(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &Driver{program: self, dir: t.TempDir(), timeout: -1}
	if err := d.run(t.Context(), nil); err == nil || errors.Is(err, edition.ErrUnavailable) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("error %v", err)
	}
}
