package gsm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// PushPorts are those of connectionless WAP push (IANA: wap-push, 2948). The
// port it comes from is that of connectionless WSP, 9200; nobody answers to it.
var PushPorts = Ports{To: 2948, From: 9200}

// SI is a service indication: a text and a URL that the phone shows, or acts
// on (WAP-167-ServiceInd-20010731-a).
type SI struct {
	Href   string
	Text   string
	Action string // a word of Actions
}

// Actions are the words of SI.Action in the order of their codes, the first
// being 0x05 (WAP-167, section 8.2.2).
var Actions = []string{"signal-none", "signal-low", "signal-medium", "signal-high", "delete"}

// Codes of WBXML 1.2 (WAP-192-WBXML-20010725-a, section 7.1) and of the
// service indication (WAP-167, section 8).
const (
	wbxmlVersion = 0x02 // 1.2
	siPublicID   = 0x05 // -//WAPFORUM//DTD SI 1.0//EN
	utf8MIB      = 0x6a // IANA MIBenum of UTF-8
	tagSI        = 0x45 // si, with content
	tagInd       = 0xc6 // indication, with attributes and content
	inlineString = 0x03
	end          = 0x01
	firstAction  = 0x05
)

// hrefs are the codes of the attribute href with what its value begins with,
// the longest first.
var hrefs = []struct {
	code   byte
	prefix string
}{
	{0x0f, "https://www."},
	{0x0e, "https://"},
	{0x0d, "http://www."},
	{0x0c, "http://"},
	{0x0b, ""},
}

// suffixes are the codes of parts of a URL, the first being 0x85. They are
// read, not written.
var suffixes = []string{".com/", ".edu/", ".net/", ".org/"}

// push is the WSP header of the push: PDU type, length of the headers, and
// Content-Type: application/vnd.wap.sic; charset=utf-8 (WAP-230-WSP-20010705-a,
// sections 8.2.4.1 and 8.4.2.24).
var push = []byte{0x06, 0x04, 0x03, 0xae, 0x81, 0xea}

// Push returns the data of a message to PushPorts. The error says what cannot
// be written.
func (s SI) Push() ([]byte, error) {
	action := slices.Index(Actions, s.Action)
	if action < 0 {
		return nil, fmt.Errorf("action %q is not one of %s", s.Action, strings.Join(Actions, ", "))
	}
	for _, text := range []string{s.Href, s.Text} {
		if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			return nil, errors.New("not UTF-8 text without NUL")
		}
	}
	out := append([]byte{0x01}, push...) // transaction 1: nobody tells it apart
	out = append(out, wbxmlVersion, siPublicID, utf8MIB, 0, tagSI, tagInd)
	for _, h := range hrefs {
		if rest, ok := strings.CutPrefix(s.Href, h.prefix); ok {
			out = append(out, h.code)
			out = inline(out, rest)
			break
		}
	}
	out = append(out, firstAction+byte(action), end)
	out = inline(out, s.Text)
	return append(out, end, end), nil
}

func inline(b []byte, s string) []byte {
	if s == "" {
		return b
	}
	return append(append(append(b, inlineString), s...), 0)
}

// errSI is a push that is no service indication of the form that Push gives.
var errSI = errors.New("not a service indication")

// ParsePush reads what Push has written. Of what others write it knows the
// same attributes.
func ParsePush(data []byte) (s SI, err error) {
	rest, ok := bytes.CutPrefix(data[min(1, len(data)):], push)
	if ok {
		rest, ok = bytes.CutPrefix(rest, []byte{wbxmlVersion, siPublicID, utf8MIB, 0, tagSI, tagInd})
	}
	if !ok {
		return s, errSI
	}
	for {
		if len(rest) == 0 {
			return SI{}, errSI
		}
		code := rest[0]
		rest = rest[1:]
		switch at := slices.IndexFunc(hrefs, func(h struct {
			code   byte
			prefix string
		},
		) bool {
			return h.code == code
		}); {
		case code == end:
			if s.Text, rest = value(rest); !bytes.Equal(rest, []byte{end, end}) || !utf8.ValidString(s.Href+s.Text) {
				return SI{}, errSI
			}
			return s, nil
		case at >= 0:
			var v string
			v, rest = value(rest)
			s.Href = hrefs[at].prefix + v
		case code >= firstAction && int(code-firstAction) < len(Actions):
			s.Action = Actions[code-firstAction]
		default:
			return SI{}, errSI
		}
	}
}

// value reads strings and parts of URLs, up to something else.
func value(b []byte) (s string, rest []byte) {
	var out []byte
	for len(b) > 0 {
		switch code := int(b[0]) - 0x85; {
		case b[0] == inlineString:
			n := bytes.IndexByte(b, 0)
			if n < 0 {
				return string(out), b
			}
			out, b = append(out, b[1:n]...), b[n+1:]
		case code >= 0 && code < len(suffixes):
			out, b = append(out, suffixes[code]...), b[1:]
		default:
			return string(out), b
		}
	}
	return string(out), b
}
