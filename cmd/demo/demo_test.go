package demo

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestOnce plays the whole demo and looks for its steps.
func TestOnce(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer plain.CloseIdleConnections()
	var out bytes.Buffer
	if err := Run(t.Context(), t.TempDir(), true, newTranscript(&out)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"phone   calls its app with version 1",
		"tablet  calls its app with version 1",
		`meter   is woken by a datagram from far: "NOTIFY 127.0.0.1:`,
		"meter   calls its app with version 2",
		"GET meter's endpoint: version 2 delivered",
		"Every device got its versions.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the transcript lacks %q", want)
		}
	}
	t.Log("\n" + out.String())
}
