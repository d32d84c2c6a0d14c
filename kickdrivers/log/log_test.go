package log_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/log"
)

// lines is a writer that several goroutines may use.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestSuite(t *testing.T) {
	kicktest.Run(t, func(*testing.T) kicktest.Subject {
		var out lines
		return kicktest.Subject{
			Driver: log.New(log.DefaultConfig(), driver.Env{Log: slog.New(slog.NewTextHandler(&out, nil))}),
			Size:   100,
			Good:   func(i int) json.RawMessage { return fmt.Appendf(nil, `{"label":"lamp %d"}`, i) },
			Malformed: []json.RawMessage{
				[]byte(`{"label":""}`),
				[]byte(`{"label":7}`),
				[]byte(`{"label":"two\nlines"}`),
				[]byte(`{"label":"` + strings.Repeat("x", 65) + `"}`),
			},
			Sent:    out.String,
			Arrived: func() int { return strings.Count(out.String(), "msg=kick label=\"lamp ") },
		}
	})
}

func TestLevel(t *testing.T) {
	var out lines
	d := log.New(log.Config{Level: "debug"}, driver.Env{Log: slog.New(slog.NewTextHandler(&out, nil))})
	errs := make([]error, 1)
	d.Kick(t.Context(), []driver.Kick{{Target: []byte(`{"label":"x"}`)}}, errs)
	if errs[0] != nil || out.String() != "" {
		t.Errorf("wrote %q at debug, error %v", out.String(), errs[0])
	}
}
