package edition

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of what an event carries.
const (
	// MaxBody is the greatest size of a body's Data in bytes (RFC 8030 §7.2
	// wants at least that).
	MaxBody = 4096
	// MaxBodyHead is the greatest length of each of a body's texts, in bytes.
	MaxBodyHead = 512
	// MaxBodyTTL bounds how long a body is kept.
	MaxBodyTTL = 30 * 24 * time.Hour
)

// Urgency of a message (RFC 8030 §5.3), in rising order.
type Urgency uint8

// The urgencies.
const (
	UrgencyVeryLow Urgency = iota
	UrgencyLow
	UrgencyNormal // when nothing is said
	UrgencyHigh
)

var urgencies = [...]string{"very-low", "low", "normal", "high"}

// String returns the word of RFC 8030.
func (u Urgency) String() string { return urgencies[u&3] }

// ParseUrgency reads a word of RFC 8030; no word is UrgencyNormal.
func ParseUrgency(s string) (u Urgency, ok bool) {
	if s == "" {
		return UrgencyNormal, true
	}
	for i, word := range urgencies {
		if s == word {
			return Urgency(i), true
		}
	}
	return 0, false
}

// Body is what an event carries beside its version: a message. Data is opaque:
// it is encrypted for the app, and rides through relays untouched. Who is
// given a Body must not modify it.
type Body struct {
	// AppID is the app that the message is for. The event's own key names
	// the slot in which the message waits.
	AppID AppID
	// TTL is how long the message is worth keeping from now on, at most
	// MaxBodyTTL; 0 is as long as any version. A message that is worth
	// nothing later is not kept: see hub.
	TTL     time.Duration
	Urgency Urgency
	// Receipt asks to remember, until its TTL has passed, that the message
	// was delivered or has expired.
	Receipt bool
	// Encoding is the Content-Encoding: "aes128gcm" (RFC 8291), "aesgcm",
	// or "" when Data is not encrypted or empty. Encryption and CryptoKey are
	// the header fields that aesgcm needs.
	Encoding   string
	Encryption string
	CryptoKey  string
	Data       []byte
	// Withdrawn says that the message which waits in the event's slot has been
	// withdrawn: the event takes its place, and goes where it has gone. It names
	// no app, carries no data, goes to relays alone and is never shown to a
	// device. See [Store].
	Withdrawn bool
}

// Size is what counts against the limits of a store, in bytes.
func (b *Body) Size() int {
	return len(b.Data) + len(b.Encoding) + len(b.Encryption) + len(b.CryptoKey)
}

// A slot is where one message waits: it stands in a key in the place of an
// AppID. Versions of an app wait in the slot that is the app's own ID, so that
// a new one replaces the old one. A message with a topic (RFC 8030 §5.4) has
// the slot of the topic; one without has a slot of its own. Slots are UUIDs
// (RFC 9562) of other versions than 4, so that no app has the ID of a slot.

// TopicSlot returns the slot of an app's topic: a UUIDv8.
func TopicSlot(app AppID, topic string) AppID {
	h := sha256.New()
	h.Write([]byte("edition topic\x00"))
	h.Write(app[:])
	h.Write([]byte(topic))
	var slot AppID
	copy(slot[:], h.Sum(nil))
	slot[6] = slot[6]&0x0f | 0x80
	slot[8] = slot[8]&0x3f | 0x80
	return slot
}

// IsTopic reports whether an ID is the slot of a topic.
func (a AppID) IsTopic() bool { return a[6]>>4 == 8 }

// IsSlot reports whether an ID is a message's slot and not an app's.
func (a AppID) IsSlot() bool { return a[6]>>4 == 7 || a[6]>>4 == 8 }

// SlotMaker makes slots for messages without a topic: UUIDv7, each greater
// than the ones before, so that a device's messages stand in the order in
// which they came. The zero SlotMaker is ready to be used.
type SlotMaker struct {
	mu   sync.Mutex
	last uint64 // Guarded by mu. 48 bits of milliseconds, 12 bits of a count.
}

// Next returns the next slot.
func (m *SlotMaker) Next(now time.Time) AppID {
	m.mu.Lock()
	m.last = max(m.last+1, uint64(max(0, now.UnixMilli()))<<12)
	at := m.last
	m.mu.Unlock()
	slot := AppID(newUUID())
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], at<<4)
	copy(slot[:6], head[:6])
	slot[6], slot[7] = 0x70|head[6]>>4, head[6]<<4|head[7]>>4
	return slot
}

// SlotVersions makes versions of messages with topics. A slot is forgotten when
// its message was delivered, but whoever has had that message goes on to know its
// version: so the next one is greater, even when both come within a millisecond
// or the clock has been set back. The zero SlotVersions is ready to be used.
type SlotVersions struct {
	last [1024]atomic.Uint64 // of all slots that share a place
}

// Next returns a version that is at least the one wanted, and greater than those
// before for this slot.
func (m *SlotVersions) Next(slot AppID, want Version) Version {
	last := &m.last[binary.BigEndian.Uint16(slot[:])%uint16(len(m.last))]
	for {
		old := last.Load()
		next := min(max(uint64(want), old+1), uint64(MaxVersion))
		if last.CompareAndSwap(old, next) {
			return Version(next)
		}
	}
}

// ParseSlot reads the 36-character form of an AppID or of a slot.
func ParseSlot[T string | []byte](s T) (AppID, error) {
	if u, ok := parseHex(s); ok && u[8]>>6 == 2 {
		if a := AppID(u); a.IsSlot() || a[6]>>4 == 4 {
			return a, nil
		}
	}
	return ParseAppID(s) // the error
}
