package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/edition-push/edition"
)

// Slot is an AppID, or the slot of a message (see [edition.AppID.IsSlot]).
type Slot edition.AppID

// MarshalText returns the 36-character form.
func (s Slot) MarshalText() ([]byte, error) { return edition.AppID(s).MarshalText() }

// UnmarshalText is [edition.ParseSlot].
func (s *Slot) UnmarshalText(b []byte) error {
	a, err := edition.ParseSlot(b)
	*s = Slot(a)
	return err
}

// Data is bytes as base64url without padding (RFC 4648 §5). Padding is taken.
type Data []byte

// MarshalText returns the base64url form.
func (d Data) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, d), nil
}

// UnmarshalText reads the base64url form, with or without padding. An empty text
// is no nil.
func (d *Data) UnmarshalText(b []byte) error {
	for len(b) > 0 && b[len(b)-1] == '=' {
		b = b[:len(b)-1]
	}
	out, err := base64.RawURLEncoding.AppendDecode(make([]byte, 0, len(b)*3/4), b)
	if err != nil {
		return fmt.Errorf("%w: not base64url: %w", edition.ErrMalformed, err)
	}
	*d = out
	return nil
}

// Carried is what one event of an UPDATE carries: an [edition.Body] and whose
// it is. Slot is the event's key in "updates".
type Carried struct {
	UAID       edition.UAID  `json:"uaid"`
	Slot       Slot          `json:"slot"`
	AppID      edition.AppID `json:"appid,omitzero"`
	TTL        int64         `json:"ttl"` // seconds that are left, rounded up
	Urgency    string        `json:"urgency,omitempty"`
	Receipt    bool          `json:"receipt,omitempty"`
	Encoding   string        `json:"encoding,omitempty"`
	Encryption string        `json:"encryption,omitempty"`
	CryptoKey  string        `json:"crypto_key,omitempty"`
	Data       Data          `json:"data,omitempty"`
	Withdrawn  bool          `json:"withdrawn,omitempty"` // to a relay; then nothing else counts but TTL
}

// CarriedSize is about how long a body is in an UPDATE, in bytes: at least as
// long.
func CarriedSize(b *edition.Body) int {
	const names = 3*40 + 160
	return names + 6*(len(b.Encoding)+len(b.Encryption)+len(b.CryptoKey)) + len(b.Data)/3*4 + 8
}

// CarriedBy returns the wire form of what the events of an update carry;
// bodies is nil or stands in their order.
func CarriedBy(u edition.Update, bodies []*edition.Body) []Carried {
	var all []Carried
	for i, b := range bodies {
		if b == nil {
			continue
		}
		if b.Withdrawn {
			all = append(all, Carried{UAID: u[i].UAID, Slot: Slot(u[i].AppID), TTL: seconds(b.TTL), Withdrawn: true})
			continue
		}
		all = append(all, Carried{
			UAID: u[i].UAID, Slot: Slot(u[i].AppID), AppID: b.AppID,
			TTL: seconds(b.TTL), Urgency: b.Urgency.String(), Receipt: b.Receipt,
			Encoding: b.Encoding, Encryption: b.Encryption, CryptoKey: b.CryptoKey, Data: b.Data,
		})
	}
	return all
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Bodies is the reverse of CarriedBy: what each event of an update carries, nil
// when none does. What is carried by no event is passed over. bad are the
// events that no store would take: in a slot without a message, or with one
// that is malformed; good are the others, in the place of u.
func Bodies(u edition.Update, carried []Carried) (good edition.Update, bodies []*edition.Body, bad edition.Update) {
	all, wrong := match(u, carried)
	good = u[:0]
	for i, e := range u {
		if wrong[e.Key] || e.AppID.IsSlot() && (all == nil || all[i] == nil) {
			bad = append(bad, e)
			continue
		}
		if all != nil {
			all[len(good)] = all[i]
		}
		good = append(good, e)
	}
	if all != nil {
		all = all[:len(good)]
	}
	return good, all, bad
}

// match finds the event of each body, and which events have a malformed one.
func match(u edition.Update, carried []Carried) (all []*edition.Body, wrong map[edition.Key]bool) {
	for i := range carried {
		c := &carried[i]
		k := edition.Key{UAID: c.UAID, AppID: edition.AppID(c.Slot)}
		at, found := slices.BinarySearchFunc(u, k, func(e edition.Event, k edition.Key) int { return e.Key.Compare(k) })
		if !found {
			continue
		}
		b, ok := c.body()
		if !ok {
			if wrong == nil {
				wrong = make(map[edition.Key]bool)
			}
			wrong[k] = true
			continue
		}
		if all == nil {
			all = make([]*edition.Body, len(u))
		}
		all[at] = b
	}
	return all, wrong
}

func (c *Carried) body() (*edition.Body, bool) {
	ttl := time.Duration(min(max(1, c.TTL), int64(edition.MaxBodyTTL/time.Second))) * time.Second
	if c.Withdrawn {
		return &edition.Body{TTL: ttl, Withdrawn: true}, edition.AppID(c.Slot).IsSlot()
	}
	urgency, ok := edition.ParseUrgency(c.Urgency)
	if !ok || len(c.Data) > edition.MaxBody || max(len(c.Encoding), len(c.Encryption), len(c.CryptoKey)) > edition.MaxBodyHead ||
		c.AppID == (edition.AppID{}) || !edition.AppID(c.Slot).IsSlot() && edition.AppID(c.Slot) != c.AppID {
		return nil, false
	}
	return &edition.Body{
		AppID: c.AppID, Urgency: urgency, Receipt: c.Receipt, TTL: ttl,
		Encoding: c.Encoding, Encryption: c.Encryption, CryptoKey: c.CryptoKey, Data: c.Data,
	}, true
}

// AppendCarrying is AppendUpdate with what the events carry: bodies is nil or
// stands in their order.
func AppendCarrying(dst []byte, id uint64, u edition.Update, bodies []*edition.Body) []byte {
	dst = AppendUpdate(dst, id, u)
	carried := CarriedBy(u, bodies)
	if len(carried) == 0 {
		return dst
	}
	text, _ := json.Marshal(carried) // of strings and numbers
	dst = append(dst[:len(dst)-1], `,"messages":`...)
	return append(append(dst, text...), '}')
}
