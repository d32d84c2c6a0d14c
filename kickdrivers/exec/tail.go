package exec

import (
	"bytes"
	"strings"
	"unicode"
)

const (
	maxTail = 4096 // bytes of standard error that are kept
	maxLine = 256  // bytes of its last line that are logged
)

// tail is a writer that keeps the end of what is written.
type tail struct{ end []byte }

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	n := len(b)
	if n >= maxTail {
		t.end = append(t.end[:0], b[n-maxTail:]...)
		return n, nil
	}
	if over := len(t.end) + n - maxTail; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	t.end = append(t.end, b...)
	return n, nil
}

// line returns the last line that is not blank, fit for a log.
func (t *tail) line() string {
	text := bytes.TrimSpace(t.end)
	if at := bytes.LastIndexByte(text, '\n'); at >= 0 {
		text = text[at+1:]
	}
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(text), "")))
}
