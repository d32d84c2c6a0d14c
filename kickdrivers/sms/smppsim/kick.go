package smppsim

import (
	"strings"

	"github.com/edition-push/edition/kickdrivers/sms/gsm"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
)

// Kick is a message as the phone would get it.
type Kick struct {
	To   string // +34600111222
	From string // as it came
	Form string // text, binary or si
	Text string // of a text or a service indication
	Href string // of a service indication
	Port int    // that a binary or a service indication is for; 0: none
	Data []byte // of a binary, without its header
	// Message is all of it as it came.
	Message smpp.Message
}

// read checks and decodes a message.
func read(m smpp.Message) (Kick, smpp.Status) {
	k := Kick{To: "+" + m.Dest.Addr, From: m.Source.Addr, Form: "text", Message: m}
	if m.Dest.TON != smpp.TONInternational || m.Dest.NPI != smpp.NPIISDN || len(m.Dest.Addr) < 7 || len(m.Dest.Addr) > 15 ||
		strings.ContainsFunc(m.Dest.Addr, func(r rune) bool { return r < '0' || r > '9' }) {
		return k, smpp.InvDest
	}
	if m.Validity != "" && len(m.Validity) != 16 {
		return k, smpp.InvExpiry
	}
	if m.ESMClass&smpp.ESMUDHI != 0 {
		return readBinary(k)
	}
	limit := gsm.MaxOctets
	switch m.DataCoding {
	case smpp.CodingDefault:
		k.Text, limit = gsm.FromDefault(m.Text), gsm.MaxSeptets
	case smpp.CodingIA5, smpp.CodingLatin1:
		k.Text = gsm.FromLatin1(m.Text)
	case smpp.CodingUCS2:
		k.Text = gsm.FromUCS2(m.Text)
	default:
		k.Form, k.Data = "binary", m.Text
	}
	if len(m.Text) > limit {
		return k, smpp.InvMsgLen
	}
	return k, smpp.OK
}

func readBinary(k Kick) (Kick, smpp.Status) {
	ports, data, err := gsm.SplitPorts(k.Message.Text)
	switch {
	case err != nil:
		return k, smpp.InvESMClass
	case len(k.Message.Text) > gsm.MaxOctets:
		return k, smpp.InvMsgLen
	}
	k.Form, k.Port, k.Data = "binary", int(ports.To), data
	if ports.To == gsm.PushPorts.To {
		if si, err := gsm.ParsePush(data); err == nil {
			k.Form, k.Text, k.Href = "si", si.Text, si.Href
		}
	}
	return k, smpp.OK
}
