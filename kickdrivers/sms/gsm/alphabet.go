// Package gsm is what a short message holds: text in the alphabets of mobile
// networks, octets for a port of the device, and the WAP push that browsers of
// phones know as a service indication.
//
// It promises that what it encodes it can decode, and that it does not panic
// on anything that it is given to decode. It does not split long messages: the
// caller compares with MaxOctets and MaxSeptets. It speaks to nobody.
package gsm

import (
	"strings"
	"unicode/utf16"
)

// What fits one short message (3GPP TS 23.040, section 9.2.3.16).
const (
	MaxOctets  = 140
	MaxSeptets = 160
)

// basic is the default alphabet (3GPP TS 23.038, section 6.2.1), in order of
// its codes. Code 0x1b leads to the extension table.
const basic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ" +
	" !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§" +
	"¿abcdefghijklmnopqrstuvwxyzäöñüà"

const escape = 0x1b

// extension is the extension table (section 6.2.1.1): two septets each.
var extension = [...]struct {
	code byte
	char rune
}{
	{0x0a, '\f'},
	{0x14, '^'},
	{0x28, '{'},
	{0x29, '}'},
	{0x2f, '\\'},
	{0x3c, '['},
	{0x3d, '~'},
	{0x3e, ']'},
	{0x40, '|'},
	{0x65, '€'},
}

// alphabet is basic by code.
var alphabet = []rune(basic)

// Default encodes text in the default alphabet, an octet for each septet, as
// SMPP carries it; false when it has a character that the alphabet lacks.
func Default(text string) ([]byte, bool) {
	out := make([]byte, 0, len(text))
next:
	for _, c := range text {
		for code, known := range alphabet {
			if c == known && code != escape {
				out = append(out, byte(code))
				continue next
			}
		}
		for _, e := range extension {
			if c == e.char {
				out = append(out, escape, e.code)
				continue next
			}
		}
		return nil, false
	}
	return out, true
}

// FromDefault decodes what Default has encoded. What is no code becomes U+FFFD.
func FromDefault(b []byte) string {
	var out strings.Builder
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == escape && i+1 < len(b):
			i++
			out.WriteRune(extended(b[i]))
		case b[i] != escape && int(b[i]) < len(alphabet):
			out.WriteRune(alphabet[b[i]])
		default:
			out.WriteRune('\uFFFD')
		}
	}
	return out.String()
}

func extended(code byte) rune {
	for _, e := range extension {
		if e.code == code {
			return e.char
		}
	}
	return '\uFFFD'
}

// Latin1 encodes text as ISO 8859-1; false when it has other characters.
func Latin1(text string) ([]byte, bool) {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if c > 0xff {
			return nil, false
		}
		out = append(out, byte(c))
	}
	return out, true
}

// FromLatin1 decodes ISO 8859-1.
func FromLatin1(b []byte) string {
	out := make([]rune, len(b))
	for i, c := range b {
		out[i] = rune(c)
	}
	return string(out)
}

// UCS2 encodes text as UTF-16, highest octet first: what phones make of UCS-2.
func UCS2(text string) []byte {
	units := utf16.Encode([]rune(text))
	out := make([]byte, 0, 2*len(units))
	for _, u := range units {
		out = append(out, byte(u>>8), byte(u))
	}
	return out
}

// FromUCS2 decodes what UCS2 has encoded. An odd octet at the end is left out.
func FromUCS2(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
	}
	return string(utf16.Decode(units))
}
