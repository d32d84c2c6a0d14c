package smpp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// TestExample reads and writes the bind_transmitter that chapter 3 of the
// specification shows octet by octet.
func TestExample(t *testing.T) {
	raw, err := hex.DecodeString(
		"0000002f" + "00000002" + "00000000" + "00000001" +
			"534d50503354455354" + "00" + "7365637265743038" + "00" + "5355424d495431" + "00" + "00" + "01" + "01" + "00")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(bytes.NewReader(raw))
	if err != nil || p.Command != BindTransmitter || p.Status != OK || p.Sequence != 1 {
		t.Fatalf("read %+v, %v", p, err)
	}
	m, err := ParseBind(p.Body)
	want := Bind{SystemID: "SMPP3TEST", Password: "secret08", SystemType: "SUBMIT1", Range: Address{TON: 1, NPI: 1}}
	if err != nil || m != want {
		t.Errorf("bind %+v, %v; want %+v", m, err, want)
	}
	body, err := want.Body()
	if err != nil {
		t.Fatal(err)
	}
	if got := (PDU{Command: BindTransmitter, Sequence: 1, Body: body}).AppendTo(nil); !bytes.Equal(got, raw) {
		t.Errorf("wrote %x, want %x", got, raw)
	}
}

func TestMessageOctets(t *testing.T) {
	m := Message{
		Source: Address{TON: TONAlphanumeric, Addr: "Edition"}, Dest: Address{TON: 1, NPI: 1, Addr: "34600111222"},
		ESMClass: ESMUDHI, Validity: "000001000000000R", Registered: WantReceipt, DataCoding: CodingBinary, Text: []byte{1, 2, 3},
		TLVs: []TLV{{Tag: 0x0204, Value: []byte{0, 7}}},
	}
	want := "00" + "0500" + hex.EncodeToString([]byte("Edition")) + "00" + "0101" + hex.EncodeToString([]byte("34600111222")) + "00" +
		"400000" + "00" + hex.EncodeToString([]byte("000001000000000R")) + "00" + "01000400" + "03" + "010203" + "020400020007"
	body, err := m.Body()
	if err != nil || hex.EncodeToString(body) != want {
		t.Errorf("body %x, %v\nwant %s", body, err, want)
	}
	back, err := ParseMessage(body)
	if err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("read back %+v, %v", back, err)
	}
}

func TestBodyLimits(t *testing.T) {
	long := strings.Repeat("1", 21)
	for name, m := range map[string]Message{
		"service_type":     {ServiceType: "123456"},
		"source_addr":      {Source: Address{Addr: long}},
		"destination_addr": {Dest: Address{Addr: long}},
		"validity_period":  {Validity: strings.Repeat("0", 17)},
		"schedule":         {Schedule: strings.Repeat("0", 17)},
		"short_message":    {Text: make([]byte, 255)},
		"NUL":              {Dest: Address{Addr: "34\x00600"}},
		"optional":         {TLVs: []TLV{{Value: make([]byte, 1<<16)}}},
	} {
		if _, err := m.Body(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := (Bind{Password: "123456789"}).Body(); err == nil {
		t.Error("a password of 9 octets was written")
	}
}

func TestReadHostile(t *testing.T) {
	whole := PDU{Command: EnquireLink, Sequence: 7, Body: []byte("1234")}.AppendTo(nil)
	for n := range whole {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, err := Read(bytes.NewReader(whole[:n])); !errors.Is(err, want) {
			t.Errorf("%d octets: %v, want %v", n, err, want)
		}
	}
	for _, length := range []string{"00000000", "0000000f", "00010001", "7fffffff", "ffffffff"} {
		head, err := hex.DecodeString(length + "00000015" + "00000000" + "00000009")
		if err != nil {
			t.Fatal(err)
		}
		p, err := Read(io.MultiReader(bytes.NewReader(head), neverRead{t}))
		if !errors.Is(err, ErrLength) || p.Sequence != 9 {
			t.Errorf("length %s: %+v, %v", length, p, err)
		}
	}
}

// neverRead fails the test when something is read of it.
type neverRead struct{ t *testing.T }

func (r neverRead) Read([]byte) (int, error) {
	r.t.Error("read on after a length that cannot be")
	return 0, io.EOF
}

func TestParseCutOff(t *testing.T) {
	m := Message{Dest: Address{Addr: "34600111222"}, Text: []byte("text"), TLVs: []TLV{{Tag: 1, Value: []byte("v")}}}
	whole, err := m.Body()
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if got, err := ParseMessage(whole[:n]); err == nil && len(got.TLVs) > 0 {
			t.Errorf("%d of %d octets are read as %+v", n, len(whole), got)
		}
	}
	if _, err := ParseMessage(append(bytes.Repeat([]byte{'1'}, 40), 0)); err == nil {
		t.Error("a service_type of 40 octets was read")
	}
}

func TestReceipt(t *testing.T) {
	for _, c := range []struct {
		name, text string
		tlvs       []TLV
		want       Receipt
	}{
		{"appendix B", "id:0123456789 sub:001 dlvrd:001 submit date:0809011130 done date:0809011131 stat:DELIVRD err:000 text:hello", nil, Receipt{"0123456789", StateDelivered}},
		{"expired", "id:1f sub:001 dlvrd:000 submit date:0809011130 done date:0809011131 stat:EXPIRED err:001 text:", nil, Receipt{"1f", StateExpired}},
		{"lower case", "ID:7 Stat:UNDELIV", nil, Receipt{"7", StateUndeliverable}},
		{"the message's own text does not count", "id:7 stat:REJECTD err:1 Text:stat:DELIVRD id:8", nil, Receipt{"7", StateRejected}},
		{"before the rest", "text:stat:DELIVRD", nil, Receipt{"", StateUnknown}},
		{"no text", "", nil, Receipt{"", StateUnknown}},
		{"parameters count", "id:7 stat:DELIVRD", []TLV{{TagReceiptedID, []byte("9\x00")}, {TagMessageState, []byte{5}}}, Receipt{"9", StateUndeliverable}},
		{"a state that is none", "id:7 stat:DELIVRD", []TLV{{TagMessageState, []byte{200}}}, Receipt{"7", StateDelivered}},
		{"a state of no octets", "", []TLV{{TagMessageState, nil}}, Receipt{"", StateUnknown}},
		{"text in a parameter", "", []TLV{{TagPayload, []byte("id:3 stat:ACCEPTD")}}, Receipt{"3", StateAccepted}},
	} {
		m := Message{ESMClass: ESMReceipt, Text: []byte(c.text), TLVs: c.tlvs}
		if got, ok := m.Receipt(); !ok || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, ok, c.want)
		}
	}
	for _, class := range []byte{0, ESMUDHI, 0x08, 0x20} {
		m := Message{ESMClass: class, Text: []byte("id:1 stat:DELIVRD")}
		if r, ok := m.Receipt(); ok {
			t.Errorf("esm_class 0x%02x is taken for a receipt: %+v", class, r)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		SubmitSM.Resp().String(): "submit_sm_resp", GenericNack.String(): "generic_nack", Command(0x99).String(): "command 0x00000099",
		Throttled.String(): "ESME_RTHROTTLED", Status(0x400).String(): "status 0x00000400",
		(&StatusError{BindTransceiver, InvPassword}).Error(): "bind_transceiver: ESME_RINVPASWD",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
