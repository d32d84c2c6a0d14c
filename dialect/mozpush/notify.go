package mozpush

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect/peer"
	"github.com/edition-push/edition/wire"
)

// notification is one version or message.
type notification struct {
	Type      string    `json:"messageType"`
	ChannelID string    `json:"channelID"`
	Version   string    `json:"version"`
	TTL       *int64    `json:"ttl,omitempty"` // seconds
	Data      wire.Data `json:"data,omitempty"`
	Headers   *headers  `json:"headers,omitempty"`
}

// headers are the fields of a message that a browser needs to decrypt it.
type headers struct {
	Encryption string `json:"encryption,omitempty"`
	CryptoKey  string `json:"crypto_key,omitempty"`
	Encoding   string `json:"encoding"`
}

// Update implements session.Talk.
func (t *Talk) Update(u edition.Update, bodies []*edition.Body) {
	all := make([][]byte, 0, len(u))
	for i, e := range u {
		var b *edition.Body
		if bodies != nil {
			b = bodies[i]
		}
		if b == nil && e.AppID.IsSlot() {
			continue // was replaced, or has expired, just now
		}
		all = append(all, peer.Marshal(notificationOf(e, b)))
	}
	t.Send(all...)
}

// notificationOf returns what a browser is told. Data that is not encrypted it
// could not use: then it learns that there is something, and no more.
func notificationOf(e edition.Event, b *edition.Body) notification {
	n := notification{Type: "notification", ChannelID: e.AppID.String(), Version: mark(e.AppID, e.Version)}
	if b == nil {
		return n
	}
	ttl := int64((b.TTL + time.Second - 1) / time.Second)
	n.ChannelID, n.TTL = b.AppID.String(), &ttl
	if b.Encoding != "" && len(b.Data) > 0 {
		n.Data = b.Data
		n.Headers = &headers{Encryption: b.Encryption, CryptoKey: b.CryptoKey, Encoding: b.Encoding}
	}
	return n
}

// A mark is what this protocol calls a version: a text that means something to
// the server alone, here the event's slot and its version. A browser remembers
// the last ones of each channel, and drops a message that comes twice.
const markSize = 16 + 8

func mark(slot edition.AppID, v edition.Version) string {
	var b [markSize]byte
	copy(b[:], slot[:])
	binary.BigEndian.PutUint64(b[16:], uint64(v))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// openMark is the reverse of mark. It is false for a text that mark has not
// made.
func openMark(text string) (slot edition.AppID, v edition.Version, ok bool) {
	var b [markSize]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(markSize) {
		return slot, 0, false
	}
	if n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text)); err != nil || n != markSize { // line ends are passed over
		return slot, 0, false
	}
	copy(slot[:], b[:])
	v = edition.Version(binary.BigEndian.Uint64(b[16:]))
	return slot, v, v <= edition.MaxVersion
}
