package udp

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"

	"github.com/edition-push/edition"
)

// FuzzTarget decodes what a device, or a damaged store, may hold. What is
// accepted is normal, is stored in a form that reads back the same, and the
// reading by hand agrees with encoding/json.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		`{"ip":"10.1.2.3","port":4000}`,
		`{"ip":"10.1.2.3","port":4000,"proto":"udp"}`,
		`{"ip":"10.1.2.3","port":4000,"proto":"udp","own":true}`,
		`{"ip":"2001:db8::1","port":65535,"proto":"tcp","own":true}`,
		`{"ip":"::ffff:10.1.2.3","port":1,"netid":"n","mcc":"214","mnc":"07"}`,
		`{"ip":"fe80::1%eth0","port":1,"proto":"udp"}`,
		`{"ip":"10.1.2.3","port":04000,"proto":"udp"}`,
		`{"ip":"10.1.2.3","port":99999,"proto":"udp"}`,
		`{"ip":"10.1.2.3","port":0,"proto":"udp"}`,
		`{"ip":"10.1.2.3","port":,"proto":"udp"}`,
		`{"ip":"\u0031.1.1.1","port":5,"proto":"udp"}`,
		`{"ip":"10.1.2.3","port":4000,"proto":"udp"} `,
		`{"ip":"`, `{`, ``, `null`,
	} {
		f.Add(s)
	}
	from := netip.MustParseAddr("10.1.2.3")
	f.Fuzz(func(t *testing.T, s string) {
		if quick, ok := parseUsual([]byte(s)); ok && quick.port != 0 {
			var slow form
			if err := json.Unmarshal([]byte(s), &slow); err != nil {
				t.Fatalf("%q is read by hand and is no JSON: %v", s, err)
			}
			same, err := slow.target()
			same.own = slow.Own
			if err != nil || same != quick {
				t.Fatalf("%q is %+v by hand, else %+v, %v", s, quick, same, err)
			}
		}
		if _, err := parseStored(json.RawMessage(s)); err != nil && !known(err) {
			t.Fatalf("%q: %v is not an error of ours", s, err)
		}
		got, err := parseAsked(json.RawMessage(s), from)
		if err != nil {
			if !known(err) {
				t.Fatalf("%q: %v is not an error of ours", s, err)
			}
			return
		}
		if got.port == 0 || got.ip.Is4In6() || got.ip.Zone() != "" || got.own != (got.ip == from) {
			t.Fatalf("%q is taken as %+v", s, got)
		}
		stored, err := got.stored()
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseStored(stored)
		if err != nil || back != got && json.Valid([]byte(s)) && validText(got) {
			t.Fatalf("%q is stored as %s, which reads as %+v, %v", s, stored, back, err)
		}
		if _, quick := parseUsual(stored); !quick && got.netid == "" && got.mcc == "" {
			t.Fatalf("%s is not read by hand", stored)
		}
	})
}

func known(err error) bool {
	return errors.Is(err, edition.ErrMalformed) || errors.Is(err, edition.ErrForbidden)
}

// validText: JSON replaces what is not UTF-8, so that it cannot come back.
func validText(t target) bool { return t.netid == string([]rune(t.netid)) }

func TestStoredFormIsSmall(t *testing.T) {
	got, err := parseAsked(json.RawMessage(`{"driver":"udp","ip":"10.1.2.3","port":4000,"more":["x"]}`), netip.MustParseAddr("10.1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := got.stored()
	if want := `{"ip":"10.1.2.3","port":4000,"proto":"udp","own":true}`; err != nil || string(stored) != want {
		t.Errorf("stored %s, %v; want %s", stored, err, want)
	}
}

// TestKickIsCheap bounds the garbage of the path that every kick takes.
func TestKickIsCheap(t *testing.T) {
	raw := json.RawMessage(`{"ip":"10.1.2.3","port":4000,"proto":"udp","own":true}`)
	p, err := parsePayload("NOTIFY {{.Addr}}")
	if err != nil {
		t.Fatal(err)
	}
	g := guard{networks: []network{{subnets: []subnet{newSubnet(netip.MustParsePrefix("10.0.0.0/8"))}, low: 1, high: 65535}}}
	buf := make([]byte, 0, p.max)
	n := testing.AllocsPerRun(100, func() {
		got, err := parseStored(raw)
		if err != nil || g.check(&got) != nil {
			t.Fatal("not accepted")
		}
		buf = p.appendTo(buf[:0], netip.AddrPortFrom(got.ip, got.port), "")
	})
	if n > 1 {
		t.Errorf("%v allocations a kick", n)
	}
}
