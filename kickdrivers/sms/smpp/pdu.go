package smpp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Command says what a PDU is (section 5.1.2.1).
type Command uint32

// The commands that are sent or understood. An answer has the highest bit set.
const (
	BindReceiver    Command = 0x00000001
	BindTransmitter Command = 0x00000002
	SubmitSM        Command = 0x00000004
	DeliverSM       Command = 0x00000005
	Unbind          Command = 0x00000006
	BindTransceiver Command = 0x00000009
	EnquireLink     Command = 0x00000015
	AlertNotify     Command = 0x00000102
	GenericNack     Command = 0x80000000

	answer Command = 0x80000000
)

// Resp is the command that answers c.
func (c Command) Resp() Command { return c | answer }

// IsResp reports whether c is an answer.
func (c Command) IsResp() bool { return c&answer != 0 }

func (c Command) String() string {
	if c == GenericNack {
		return "generic_nack"
	}
	if name, ok := commandNames[c&^answer]; ok {
		if c.IsResp() {
			name += "_resp"
		}
		return name
	}
	return fmt.Sprintf("command 0x%08x", uint32(c))
}

var commandNames = map[Command]string{
	BindReceiver: "bind_receiver", BindTransmitter: "bind_transmitter", BindTransceiver: "bind_transceiver",
	SubmitSM: "submit_sm", DeliverSM: "deliver_sm", Unbind: "unbind", EnquireLink: "enquire_link",
	AlertNotify: "alert_notification",
}

const (
	// HeaderLength is that of a PDU's header, in octets (section 3.2).
	HeaderLength = 16
	// MaxLength is the greatest PDU that is read, in octets with its header.
	MaxLength = 64 << 10

	maxSequence = 0x7fffffff // section 5.1.4
)

// ErrLength is a command_length that cannot be: where the next PDU begins is
// not known any more.
var ErrLength = errors.New("smpp: command_length is not between 16 and 65536")

// PDU is one protocol data unit (section 3.2).
type PDU struct {
	Command  Command
	Status   Status
	Sequence uint32
	Body     []byte
}

// AppendTo appends the octets of a PDU.
func (p PDU) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(HeaderLength+len(p.Body)))
	b = binary.BigEndian.AppendUint32(b, uint32(p.Command))
	b = binary.BigEndian.AppendUint32(b, uint32(p.Status))
	b = binary.BigEndian.AppendUint32(b, p.Sequence)
	return append(b, p.Body...)
}

// Read reads one PDU. Its length is checked before room is made for it. The
// error is io.EOF between two PDUs, io.ErrUnexpectedEOF in one, ErrLength
// (with what was read of the header) or the reader's own.
func Read(r io.Reader) (PDU, error) {
	var h [HeaderLength]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return PDU{}, err
	}
	p := PDU{
		Command:  Command(binary.BigEndian.Uint32(h[4:])),
		Status:   Status(binary.BigEndian.Uint32(h[8:])),
		Sequence: binary.BigEndian.Uint32(h[12:]),
	}
	n := binary.BigEndian.Uint32(h[:])
	if n < HeaderLength || n > MaxLength {
		return p, ErrLength
	}
	if n == HeaderLength {
		return p, nil
	}
	p.Body = make([]byte, n-HeaderLength)
	if _, err := io.ReadFull(r, p.Body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return p, err
	}
	return p, nil
}
