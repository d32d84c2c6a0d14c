package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/edition-push/edition"
)

// maxLax is the length of an ID of any form, in bytes.
const maxLax = 100

// ParseUAID reads a UAID: 32 hexadecimal digits, with dashes as RFC 9562 §4 has
// them or without. lax takes any other text up to 100 bytes. What is no UUIDv4
// stands for the UAID that is its hash.
func ParseUAID(text string, lax bool) (edition.UAID, bool) {
	id, ok := parse(text, lax)
	return edition.UAID(id), ok
}

// ParseApp is ParseUAID for the ID of an app.
func ParseApp(text string, lax bool) (edition.AppID, bool) {
	id, ok := parse(text, lax)
	return edition.AppID(id), ok
}

func parse(text string, lax bool) (id [16]byte, ok bool) {
	digits := text
	if len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		digits = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	}
	if len(digits) == 32 {
		if _, err := hex.Decode(id[:], []byte(digits)); err == nil {
			if id[6]>>4 == 4 && id[8]>>6 == 2 {
				return id, true
			}
			return derive(strings.ToLower(digits)), true
		}
	}
	if lax && text != "" && len(text) <= maxLax {
		return derive(text), true
	}
	return [16]byte{}, false
}

// derive returns the ID, in the form of a UUIDv4, that a text stands for.
func derive(text string) (id [16]byte) {
	sum := sha256.Sum256([]byte("edition id\x00" + text))
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Spellings remembers how a device writes the IDs of its apps, where that is
// not the usual form: 36 characters in lower case. It may be used at once from
// many goroutines.
type Spellings struct {
	max int

	mu sync.Mutex
	by map[edition.AppID]string // Guarded by mu; at most max.
}

// NewSpellings returns a memory for at most limit IDs.
func NewSpellings(limit int) *Spellings { return &Spellings{max: limit} }

// Note remembers a spelling. It is false when there is no room for it.
func (s *Spellings) Note(app edition.AppID, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.by[app]
	switch {
	case text == app.String():
		delete(s.by, app)
		return true
	case !known && len(s.by) >= s.max:
		return false
	case s.by == nil:
		s.by = make(map[edition.AppID]string)
	}
	s.by[app] = text
	return true
}

// Of returns how the device writes an ID.
func (s *Spellings) Of(app edition.AppID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := s.by[app]; ok {
		return text
	}
	return app.String()
}
