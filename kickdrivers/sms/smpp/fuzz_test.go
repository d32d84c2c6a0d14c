package smpp

import (
	"bytes"
	"reflect"
	"testing"
)

// FuzzRead: what is read writes the octets it came from.
func FuzzRead(f *testing.F) {
	f.Add(PDU{Command: EnquireLink, Sequence: 1}.AppendTo(nil))
	f.Add(PDU{Command: SubmitSM.Resp(), Status: Throttled, Sequence: maxSequence, Body: []byte("id\x00")}.AppendTo(nil))
	f.Add([]byte("\x00\x01\x00\x01everything else"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := p.AppendTo(nil); !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%x is read and written as %x", b, again)
		}
	})
}

// FuzzBodies: what is parsed is within its limits, so that it can be written
// and parsed again to the same.
func FuzzBodies(f *testing.F) {
	m := Message{ESMClass: ESMReceipt, Text: []byte("id:1 stat:DELIVRD"), TLVs: []TLV{{TagMessageState, []byte{2}}}}
	body, err := m.Body()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte("edition\x00secret\x00\x00\x34\x00\x00\x00"))
	f.Add([]byte("id\x00\x02\x10\x00\x01\x34"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseMessage(b); err == nil {
			again, err := m.Body()
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("message %x is written as %x, %v", b, again, err)
			}
			if r, ok := m.Receipt(); ok && r.State == "" {
				t.Errorf("a receipt without a state: %x", b)
			}
		}
		if m, err := ParseBind(b); err == nil {
			again, err := m.Body()
			if err != nil || !bytes.HasPrefix(b, again) {
				t.Errorf("bind %x is written as %x, %v", b, again, err)
			}
		}
		if m, err := ParseAnswer(b); err == nil && len(b) > 0 {
			again, err := m.Body()
			if err != nil {
				t.Fatalf("answer %x cannot be written: %v", b, err)
			}
			if back, err := ParseAnswer(again); err != nil || !reflect.DeepEqual(back, m) {
				t.Errorf("answer %x is read back as %+v, %v", b, back, err)
			}
		}
	})
}
