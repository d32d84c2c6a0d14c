package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"text/template/parse"
)

// maxCode is what a code to confirm a route adds to a kick, in bytes.
const maxCode = len(" ABCD2345")

// likeCode is what a device takes for a code.
var likeCode = regexp.MustCompile(` [A-Z2-7]{8}$`)

// maxPayload is the greatest size of a kick without a code, in bytes.
const maxPayload = 512

// payload is the operator's text with the places for the device's target. It
// is written like a text/template, but nothing in it is executed.
type payload struct {
	parts []part
	max   int // size when the target is the longest possible
}

type part struct {
	text  string
	field field
}

type field uint8

const (
	literal   field = iota
	fieldIP         // 2001:db8::1
	fieldPort       // 4000
	fieldAddr       // [2001:db8::1]:4000
)

var fields = map[string]struct {
	field field
	max   int
}{
	"IP":   {fieldIP, 39},
	"Port": {fieldPort, 5},
	"Addr": {fieldAddr, 39 + 2 + 1 + 5},
}

func parsePayload(text string) (payload, error) {
	if text == "" {
		return payload{}, errors.New("is empty")
	}
	trees, err := parse.Parse("payload", text, "", "")
	if err != nil {
		return payload{}, err
	}
	tree := trees["payload"]
	if tree == nil || len(trees) != 1 {
		return payload{}, errors.New("is not one text")
	}
	var p payload
	for _, n := range tree.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			p.parts = append(p.parts, part{text: string(n.Text)})
			p.max += len(n.Text)
		case *parse.ActionNode:
			f, ok := fields[fieldName(n)]
			if !ok {
				return payload{}, fmt.Errorf("%s is not {{.Addr}}, {{.IP}} or {{.Port}}", n)
			}
			p.parts = append(p.parts, part{field: f.field})
			p.max += f.max
		default:
			return payload{}, fmt.Errorf("%s is not {{.Addr}}, {{.IP}} or {{.Port}}", n)
		}
	}
	if likeCode.MatchString(text) {
		return payload{}, errors.New("ends like a code that confirms a route: 8 of A-Z and 2-7 behind a blank")
	}
	if p.max > maxPayload {
		return payload{}, fmt.Errorf("may take %d bytes, more than %d", p.max, maxPayload)
	}
	return p, nil
}

// fieldName is X of an action that is just {{.X}}, else empty.
func fieldName(n *parse.ActionNode) string {
	if len(n.Pipe.Decl) != 0 || len(n.Pipe.Cmds) != 1 || len(n.Pipe.Cmds[0].Args) != 1 {
		return ""
	}
	f, ok := n.Pipe.Cmds[0].Args[0].(*parse.FieldNode)
	if !ok || len(f.Ident) != 1 {
		return ""
	}
	return f.Ident[0]
}

// appendTo appends the payload for a target, with the code, if there is one,
// behind it: at most p.max bytes and maxCode.
func (p *payload) appendTo(dst []byte, to netip.AddrPort, code string) []byte {
	for _, part := range p.parts {
		switch part.field {
		case literal:
			dst = append(dst, part.text...)
		case fieldIP:
			dst = to.Addr().AppendTo(dst)
		case fieldPort:
			dst = strconv.AppendUint(dst, uint64(to.Port()), 10)
		case fieldAddr:
			dst = to.AppendTo(dst)
		}
	}
	if code != "" {
		dst = append(append(dst, ' '), code...)
	}
	return dst
}
