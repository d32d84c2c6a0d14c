package sms

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/edition-push/edition/kickdrivers/sms/gsm"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
)

// message is what a kick carries, to whomever it goes.
type message struct {
	coding byte   // as SMPP numbers them
	header []byte // user data header, or nil
	data   []byte // what follows it, as SMPP carries it
	text   string // what data says, for Kannel and the operator's eyes; empty with hex
	code   string // that is in it, or empty
}

const confirmField = "{{.Confirm}}"

// sampleCode is as long as a code is; all its characters cost the same.
const sampleCode = "W0W0W0W0"

// messageFaults says what is wrong with the keys that say what is sent. A
// message is made with and without a code: what does not fit is found here.
func (c Config) messageFaults() (faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !utf8.ValidString(c.Text) || strings.ContainsRune(c.Text, 0) {
		wrong("text: is not UTF-8 text without NUL")
	}
	for _, f := range []struct{ key, text string }{{"text", c.Text}, {"href", c.Href}} {
		if strings.Contains(strings.ReplaceAll(f.text, confirmField, ""), "{{") {
			wrong("%s: %q has another field in it than %s", f.key, f.text, confirmField)
		}
	}
	switch c.Form {
	case formText:
		if !slices.Contains([]string{"auto", "gsm", "ucs2", "latin1"}, c.Alphabet) {
			wrong("alphabet: %q is not auto, gsm, ucs2 or latin1", c.Alphabet)
		} else if c.Alphabet == "latin1" && c.Via == viaKannel {
			wrong("alphabet: latin1 cannot be asked of Kannel; choose auto, gsm or ucs2")
		}
		if strings.TrimSpace(c.Text) == "" {
			wrong("text: is empty")
		}
	case formBinary:
		for _, f := range []struct {
			key  string
			port int
		}{{"port", c.Port}, {"source_port", c.SourcePort}} {
			if f.port < 1 || f.port > 65535 {
				wrong("%s: %d is not between 1 and 65535", f.key, f.port)
			}
		}
		if _, err := hex.DecodeString(c.Hex); err != nil {
			wrong("hex: %q is not pairs of hexadecimal digits", c.Hex)
		}
	case formSI:
		if c.Href == "" || !utf8.ValidString(c.Href) {
			wrong("href: is not given: a service indication needs a URL")
		}
		if !slices.Contains(gsm.Actions, c.Action) {
			wrong("action: %q is not one of %s", c.Action, strings.Join(gsm.Actions, ", "))
		}
	default:
		wrong("form: %q is not text, binary or si", c.Form)
	}
	if err := c.senderFault(); err != nil {
		wrong("from: %w", err)
	}
	if len(faults) > 0 {
		return faults
	}
	for _, code := range []string{"", sampleCode} {
		if _, err := c.message(code); err != nil {
			wrong("text: %w", err)
			break
		}
	}
	return faults
}

// message makes what a kick carries; code may be empty. The configuration has
// no faults, or they are being looked for.
func (c Config) message(code string) (m message, err error) {
	m.text, m.code = fill(c.Text, code, true), code
	limit, unit, size := gsm.MaxOctets, "octets", 0
	switch c.Form {
	case formBinary:
		m.coding, m.header = smpp.CodingBinary, gsm.Ports{To: uint16(c.Port), From: uint16(c.SourcePort)}.Header()
		if m.data = []byte(m.text); c.Hex != "" {
			m.text = ""
			if m.data, err = hex.DecodeString(c.Hex); err != nil {
				return m, err
			}
			if code != "" {
				m.data = append(m.data, " "+code...)
			}
		}
	case formSI:
		m.coding, m.header = smpp.CodingBinary, gsm.PushPorts.Header()
		si := gsm.SI{Href: fill(c.Href, code, false), Text: m.text, Action: c.Action}
		if m.data, err = si.Push(); err != nil {
			return m, err
		}
	default:
		if m.coding, m.data, err = encode(c.Alphabet, m.text); err != nil {
			return m, err
		}
		if m.coding == smpp.CodingDefault {
			limit, unit = gsm.MaxSeptets, "characters of the default alphabet"
		}
	}
	if size = len(m.header) + len(m.data); size > limit {
		return m, fmt.Errorf("the message with a code would have %d %s; one short message has %d", size, unit, limit)
	}
	return m, nil
}

// fill puts a code, or nothing, into a template. With follow, a code that has
// no place in it is put behind.
func fill(template, code string, follow bool) string {
	if !strings.Contains(template, confirmField) {
		if follow && code != "" {
			template += " " + code
		}
		return template
	}
	return strings.TrimSpace(strings.ReplaceAll(template, confirmField, code))
}

// encode chooses the alphabet of form text.
func encode(alphabet, text string) (coding byte, data []byte, err error) {
	switch alphabet {
	case "ucs2":
		return smpp.CodingUCS2, gsm.UCS2(text), nil
	case "latin1":
		if data, ok := gsm.Latin1(text); ok {
			return smpp.CodingLatin1, data, nil
		}
		return 0, nil, errors.New("has characters that are not in ISO 8859-1")
	}
	if data, ok := gsm.Default(text); ok {
		return smpp.CodingDefault, data, nil
	}
	if alphabet == "gsm" {
		return 0, nil, errors.New("has characters that are not in the default alphabet of GSM")
	}
	return smpp.CodingUCS2, gsm.UCS2(text), nil
}

// octets is the whole user data.
func (m message) octets() []byte { return slices.Concat(m.header, m.data) }
