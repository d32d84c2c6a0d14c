package peer

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/edition-push/edition"
)

// FuzzIdent: an ID of any spelling is a UUIDv4, and one of the usual form is
// itself; a lax reader takes what a strict one does, for the same.
func FuzzIdent(f *testing.F) {
	for _, s := range []string{
		"", "x", "d9b74644-4f97-46aa-b8fa-9393985cd6cd", "D9B746444F9746AAB8FA9393985CD6CD",
		"deadbeef00000000decafbad00000000", "d9b74644-4f97-46aa-b8fa-9393985cd6c", strings.Repeat("x", 101),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		app, ok := ParseApp(s, false)
		lax, laxOK := ParseApp(s, true)
		if ok && (!laxOK || lax != app) {
			t.Fatalf("%q is %v, and lax %v", s, app, lax)
		}
		if laxOK != (s != "" && len(s) <= maxLax) && !ok {
			t.Fatalf("%q: %v", s, laxOK)
		}
		if !laxOK {
			return
		}
		if again, err := edition.ParseAppID(lax.String()); err != nil || again != lax {
			t.Fatalf("%q is %v, no UUIDv4: %v", s, lax, err)
		}
		if want, err := edition.ParseAppID(s); err == nil && want != app {
			t.Fatalf("%q is %v, want %v", s, app, want)
		}
		var one Spellings
		one.max = 1
		if !one.Note(lax, s) || one.Of(lax) != s {
			t.Fatalf("%q is spelled %q", s, one.Of(lax))
		}
	})
}

// FuzzMessage: whatever a device says, an error about it is JSON that says so.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{`, `null`, `[]`, `{"messageType":"Hello","STATUS":1}`, `{"messagetype":5,"messageType":"x"}`,
		`{"a":{"b":[1,2,{"c":null}]}}`, `{"messageType":"\u0048ello"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m struct {
			Type    json.RawMessage `json:"messageType"`
			Version json.RawMessage `json:"version"`
		}
		if IsEmpty(b) {
			var empty map[string]any
			if json.Unmarshal(b, &empty) != nil || len(empty) != 0 {
				t.Fatalf("%q is not empty", b)
			}
		}
		ok := Read(b, &m)
		if ok != (json.Valid(b) && strings.HasPrefix(strings.TrimLeft(string(b), " \t\r\n"), "{")) {
			t.Fatalf("%q: %v", b, ok)
		}
		kind, isText := Kind(m.Type)
		if v, ok := Number(m.Version); ok && v > edition.MaxVersion {
			t.Fatalf("version %d", v)
		}
		List(m.Version)
		echo, ok := Echo(b, 401, "Invalid Command")
		if !ok {
			return
		}
		var back map[string]any
		if err := json.Unmarshal(echo, &back); err != nil {
			t.Fatalf("%s: %v", echo, err)
		}
		if back["status"] != 401.0 || back["error"] != "Invalid Command" {
			t.Fatalf("%s", echo)
		}
		if said, _ := back["messageType"].(string); isText && utf8.Valid(b) && said != "" && said != strings.ToLower(said) {
			t.Fatalf("%s: the type is %q", echo, kind)
		}
	})
}

// FuzzWakeup: whatever a hello says, what it means is a kick with an address
// and a port.
func FuzzWakeup(f *testing.F) {
	f.Add(`{"ip":"10.1.2.3","port":5000}`, `{"mcc":"214","mnc":"07","netid":"x"}`, `"udp"`)
	f.Add(`{"ip":"10.1.2.3","port":"5000"}`, `{"mcc":214,"mnc":7}`, `2`)
	f.Add(`{"IP":"::1","Port":1e3}`, `{}`, ``)
	f.Add(`null`, `[]`, `{}`)
	f.Fuzz(func(t *testing.T, at, network, proto string) {
		w := Wakeup{HostPort: json.RawMessage(at), Network: json.RawMessage(network), Protocol: json.RawMessage(proto)}
		kicks := w.kicks(netip.MustParseAddr("10.1.2.3"))
		if len(kicks) > 4 {
			t.Fatalf("%d kicks", len(kicks))
		}
		for _, k := range kicks {
			if _, err := netip.ParseAddr(k.IP); err != nil || k.Proto != "udp" && k.Proto != "tcp" {
				t.Fatalf("%+v", k)
			}
			if _, err := json.Marshal(k); err != nil {
				t.Fatal(err)
			}
		}
	})
}
