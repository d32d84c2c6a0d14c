package smpp

import "bytes"

// Receipt is what an SMSC tells later about a message that it took.
type Receipt struct {
	ID    string // the message_id of its submit_sm_resp; empty when not told
	State string // one of the State words
}

// The states of a message (section 5.2.28). These words go into metrics.
const (
	StateEnroute       = "enroute"
	StateDelivered     = "delivered"
	StateExpired       = "expired"
	StateDeleted       = "deleted"
	StateUndeliverable = "undeliverable"
	StateAccepted      = "accepted"
	StateUnknown       = "unknown"
	StateRejected      = "rejected"
)

// stateCodes are those of message_state, in order from 1 (section 5.2.28).
var stateCodes = [...]string{
	StateUnknown, StateEnroute, StateDelivered, StateExpired, StateDeleted,
	StateUndeliverable, StateAccepted, StateUnknown, StateRejected,
}

// stateWords are those of "stat:" in the text of a receipt (appendix B).
var stateWords = map[string]string{
	"ENROUTE": StateEnroute, "DELIVRD": StateDelivered, "EXPIRED": StateExpired, "DELETED": StateDeleted,
	"UNDELIV": StateUndeliverable, "ACCEPTD": StateAccepted, "UNKNOWN": StateUnknown, "REJECTD": StateRejected,
}

// Receipt reads a delivery receipt; false when the message is none. The
// optional parameters count (sections 5.3.2.12, 5.3.2.35); where they are
// missing, the text does, whose form is the SMSC's own but commonly that of
// appendix B: "id:… sub:… dlvrd:… submit date:… done date:… stat:DELIVRD
// err:… text:…".
func (m *Message) Receipt() (Receipt, bool) {
	if m.ESMClass&ESMType != ESMReceipt {
		return Receipt{}, false
	}
	text := m.Text
	if len(text) == 0 {
		text, _ = find(m.TLVs, TagPayload)
	}
	r := Receipt{ID: field(text, "id:"), State: stateWords[field(text, "stat:")]}
	if id, ok := find(m.TLVs, TagReceiptedID); ok {
		r.ID = string(bytes.TrimRight(id, "\x00"))
	}
	if state, ok := find(m.TLVs, TagMessageState); ok && len(state) == 1 && int(state[0]) < len(stateCodes) {
		r.State = stateCodes[state[0]]
	}
	if r.State == "" {
		r.State = StateUnknown
	}
	return r, true
}

// field returns what follows a name, up to a blank. The name stands at the
// beginning or after a blank; what follows "text:" is the message's own.
func field(text []byte, name string) string {
	if at := bytes.Index(bytes.ToLower(text), []byte(" text:")); at >= 0 {
		text = text[:at]
	}
	for word := range bytes.FieldsSeq(text) {
		if len(word) > len(name) && bytes.EqualFold(word[:len(name)], []byte(name)) {
			return string(bytes.ToValidUTF8(word[len(name):], nil))
		}
	}
	return ""
}
