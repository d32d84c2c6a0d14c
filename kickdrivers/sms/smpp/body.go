package smpp

// Version is the interface_version of this protocol (section 5.2.4).
const Version = 0x34

// Address is a number with what kind it is (sections 5.2.5 to 5.2.9).
type Address struct {
	TON, NPI byte
	Addr     string // at most 20 octets
}

// Types of number and numbering plans (sections 5.2.5, 5.2.6).
const (
	TONUnknown       = 0
	TONInternational = 1
	TONShort         = 3 // network specific
	TONAlphanumeric  = 5
	NPIUnknown       = 0
	NPIISDN          = 1 // E.163, E.164
)

// Bind is the body of a bind_transmitter, bind_receiver or bind_transceiver
// (section 4.1).
type Bind struct {
	SystemID   string // at most 15 octets
	Password   string // at most 8
	SystemType string // at most 12
	Version    byte
	Range      Address // Addr at most 40 octets
}

// Body returns the octets. The error names the field that is too long.
func (m Bind) Body() ([]byte, error) {
	var w writer
	w.text("system_id", m.SystemID, 16)
	w.text("password", m.Password, 9)
	w.text("system_type", m.SystemType, 13)
	w.octets(m.Version, m.Range.TON, m.Range.NPI)
	w.text("address_range", m.Range.Addr, 41)
	return w.body()
}

// ParseBind reads the body of a bind.
func ParseBind(b []byte) (m Bind, err error) {
	r := reader{rest: b}
	m.SystemID = r.text("system_id", 16)
	m.Password = r.text("password", 9)
	m.SystemType = r.text("system_type", 13)
	m.Version = r.octet("interface_version")
	m.Range.TON, m.Range.NPI = r.octet("addr_ton"), r.octet("addr_npi")
	m.Range.Addr = r.text("address_range", 41)
	return m, r.err
}

// Message is the body of a submit_sm or a deliver_sm (sections 4.4.1, 4.6.1).
type Message struct {
	ServiceType  string // at most 5 octets
	Source, Dest Address
	ESMClass     byte
	ProtocolID   byte
	Priority     byte
	Schedule     string // empty, or 16 octets (section 7.1.1)
	Validity     string // empty, or 16 octets (section 7.1.1)
	Registered   byte
	Replace      byte
	DataCoding   byte
	DefaultID    byte
	Text         []byte // at most 254 octets
	TLVs         []TLV
}

// Bits of Message.ESMClass (section 5.2.12).
const (
	ESMReceipt = 0x04 // deliver_sm: an SMSC delivery receipt …
	ESMType    = 0x3c // … of these bits
	ESMUDHI    = 0x40 // Text begins with a user data header
)

// WantReceipt is the value of Message.Registered that asks for a receipt of
// success or failure (section 5.2.17).
const WantReceipt = 0x01

// Values of Message.DataCoding (section 5.2.19).
const (
	CodingDefault = 0x00 // the SMSC's default alphabet
	CodingIA5     = 0x01 // ASCII
	CodingLatin1  = 0x03
	CodingBinary  = 0x04
	CodingUCS2    = 0x08
)

// Limits of a Message's fields, in octets, those of texts with their NUL.
const (
	maxText        = 254
	maxAddr        = 21
	maxServiceType = 6
	maxTime        = 17
)

// Body returns the octets. The error names the field that is too long.
func (m *Message) Body() ([]byte, error) {
	w := writer{b: make([]byte, 0, 64+len(m.Text))}
	w.text("service_type", m.ServiceType, maxServiceType)
	w.octets(m.Source.TON, m.Source.NPI)
	w.text("source_addr", m.Source.Addr, maxAddr)
	w.octets(m.Dest.TON, m.Dest.NPI)
	w.text("destination_addr", m.Dest.Addr, maxAddr)
	w.octets(m.ESMClass, m.ProtocolID, m.Priority)
	w.text("schedule_delivery_time", m.Schedule, maxTime)
	w.text("validity_period", m.Validity, maxTime)
	w.octets(m.Registered, m.Replace, m.DataCoding, m.DefaultID)
	if len(m.Text) > maxText {
		w.fail("short_message is longer than %d octets", maxText)
	}
	w.octets(byte(len(m.Text)))
	w.octets(m.Text...)
	w.tlvs(m.TLVs)
	return w.body()
}

// ParseMessage reads the body of a submit_sm or a deliver_sm.
func ParseMessage(b []byte) (m Message, err error) {
	r := reader{rest: b}
	m.ServiceType = r.text("service_type", maxServiceType)
	m.Source = Address{TON: r.octet("source_addr_ton"), NPI: r.octet("source_addr_npi"), Addr: r.text("source_addr", maxAddr)}
	m.Dest = Address{TON: r.octet("dest_addr_ton"), NPI: r.octet("dest_addr_npi"), Addr: r.text("destination_addr", maxAddr)}
	m.ESMClass, m.ProtocolID, m.Priority = r.octet("esm_class"), r.octet("protocol_id"), r.octet("priority_flag")
	m.Schedule = r.text("schedule_delivery_time", maxTime)
	m.Validity = r.text("validity_period", maxTime)
	m.Registered, m.Replace = r.octet("registered_delivery"), r.octet("replace_if_present_flag")
	m.DataCoding, m.DefaultID = r.octet("data_coding"), r.octet("sm_default_msg_id")
	n := int(r.octet("sm_length"))
	if n > maxText {
		r.fail("sm_length %d is more than %d", n, maxText)
	}
	m.Text = r.octets("short_message", n)
	m.TLVs = r.tlvs()
	return m, r.err
}

// Answer is the body of a submit_sm_resp, deliver_sm_resp or bind_resp: one
// text (message_id of at most 64 octets, or system_id), and optional
// parameters (sections 4.4.2, 4.6.2, 4.1.2).
type Answer struct {
	ID   string
	TLVs []TLV
}

const maxID = 65

// Body returns the octets.
func (m Answer) Body() ([]byte, error) {
	var w writer
	w.text("message_id", m.ID, maxID)
	w.tlvs(m.TLVs)
	return w.body()
}

// ParseAnswer reads such a body. It may be empty, as it is with an answer
// that says no (section 4.4.2).
func ParseAnswer(b []byte) (m Answer, err error) {
	if len(b) == 0 {
		return m, nil
	}
	r := reader{rest: b}
	m.ID = r.text("message_id", maxID)
	m.TLVs = r.tlvs()
	return m, r.err
}
