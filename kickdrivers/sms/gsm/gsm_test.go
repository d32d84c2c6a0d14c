package gsm

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestDefault(t *testing.T) {
	for text, want := range map[string]string{
		"@£$¥":      "00010203",
		"hello":     "68656c6c6f",
		"Δ_Ξ":       "10111a",
		" !\"#¤":    "2021222324",
		"AZÄÖÑÜ§":   "415a5b5c5d5e5f",
		"¿azäöñüà":  "60617a7b7c7d7e7f",
		"€":         "1b65",
		"[a]{b}\\":  "1b3c611b3e1b28621b291b2f",
		"^~|\f\r\n": "1b141b3d1b401b0a0d0a",
	} {
		got, ok := Default(text)
		if !ok || hex.EncodeToString(got) != want {
			t.Errorf("%q is %x, %v; want %s", text, got, ok, want)
		}
		if back := FromDefault(got); back != text {
			t.Errorf("%q comes back as %q", text, back)
		}
	}
	for _, text := range []string{"ç", "`", "日", "\x1b", "a\x00"} {
		if got, ok := Default(text); ok {
			t.Errorf("%q is encoded as %x", text, got)
		}
	}
	if len(alphabet) != 128 {
		t.Fatalf("%d characters in an alphabet of 7 bits", len(alphabet))
	}
	for i, c := range alphabet {
		if strings.ContainsRune(string(alphabet[:i]), c) {
			t.Errorf("%q is there twice", c)
		}
	}
	if got := FromDefault([]byte{'a', 0x80, escape, 0x01, 'b', escape}); got != "a\uFFFD\uFFFDb\uFFFD" {
		t.Errorf("what is no code is read as %q", got)
	}
}

func TestOtherAlphabets(t *testing.T) {
	if got := UCS2("aΩ😀"); hex.EncodeToString(got) != "006103a9d83dde00" || FromUCS2(got) != "aΩ😀" {
		t.Errorf("UCS-2: %x, back %q", got, FromUCS2(got))
	}
	if got := FromUCS2([]byte{0, 'a', 0}); got != "a" {
		t.Errorf("an odd octet is read as %q", got)
	}
	if got, ok := Latin1("aé"); !ok || hex.EncodeToString(got) != "61e9" || FromLatin1(got) != "aé" {
		t.Errorf("Latin 1: %x, %v", got, ok)
	}
	if _, ok := Latin1("€"); ok {
		t.Error("the euro sign is not in ISO 8859-1")
	}
}

func TestPorts(t *testing.T) {
	// The user data header of ringing tones, which many documents show:
	// to port 5505 (0x1581) from port 0.
	ringing := Ports{To: 5505}
	if got := hex.EncodeToString(ringing.Header()); got != "06050415810000" {
		t.Errorf("header %s", got)
	}
	p, data, err := SplitPorts(append(ringing.Header(), "tone"...))
	if err != nil || p != ringing || string(data) != "tone" {
		t.Errorf("split into %+v, %q, %v", p, data, err)
	}
	p, data, err = SplitPorts([]byte{0x0b, 0x05, 0x04, 0x0b, 0x84, 0x23, 0xf0, 0x00, 0x03, 0x01, 0x01, 0x01, 'x'})
	if err != nil || p != PushPorts || string(data) != "x" {
		t.Errorf("with an element that counts parts: %+v, %q, %v", p, data, err)
	}
	for _, s := range []string{"", "06", "0605041581", "0105", "020502", "03050100", "ff0504"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if p, _, err := SplitPorts(b); err == nil {
			t.Errorf("%s is read as %+v", s, p)
		}
	}
}

// TestPush compares with octets put together by hand from the tables of
// WAP-230, WAP-192 and WAP-167.
func TestPush(t *testing.T) {
	si := SI{Href: "https://www.example.org/w", Text: "Wake up", Action: "signal-high"}
	want := "01" + "06" + "04" + "03ae81ea" + // transaction, push, headers: application/vnd.wap.sic; charset=utf-8
		"02" + "05" + "6a" + "00" + // WBXML 1.2, SI 1.0, UTF-8, no string table
		"45" + "c6" + "0f" + "03" + hex.EncodeToString([]byte("example.org/w")) + "00" +
		"08" + "01" + // action, end of attributes
		"03" + hex.EncodeToString([]byte("Wake up")) + "00" + "01" + "01"
	got, err := si.Push()
	if err != nil || hex.EncodeToString(got) != want {
		t.Errorf("push %x, %v\nwant %s", got, err, want)
	}
	for _, si := range []SI{
		si,
		{Href: "http://10.0.0.1/", Text: "ü €", Action: "delete"},
		{Href: "http://www.a", Action: "signal-none"},
		{Href: "mailto:a@b", Text: "x", Action: "signal-low"},
		{Href: "https://a", Text: "x", Action: "signal-medium"},
	} {
		b, err := si.Push()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParsePush(b); err != nil || back != si {
			t.Errorf("%+v comes back as %+v, %v", si, back, err)
		}
		for n := range b {
			if cut, err := ParsePush(b[:n]); err == nil {
				t.Errorf("%d of %d octets are read as %+v", n, len(b), cut)
			}
		}
	}
	// A part of a URL as a code of its own: example .com/ x
	b, err := hex.DecodeString("020603ae81ea")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParsePush(b); err == nil {
		t.Error("another length of headers was read")
	}
	b = append([]byte{9}, push...)
	b = append(b, 2, 5, 0x6a, 0, 0x45, 0xc6, 0x0c, 3, 'e', 0, 0x85, 3, 'x', 0, 7, 1, 1, 1)
	if back, err := ParsePush(b); err != nil || back.Href != "http://e.com/x" || back.Action != "signal-medium" {
		t.Errorf("read %+v, %v", back, err)
	}
	for _, bad := range []SI{
		{Href: "http://a", Action: "never"},
		{Href: "http://a\x00b", Action: "delete"},
		{Href: "http://a", Text: "\xff", Action: "delete"},
	} {
		if b, err := bad.Push(); err == nil {
			t.Errorf("%+v is written as %x", bad, b)
		}
	}
}

// FuzzUserData: nothing that a phone network brings makes the decoders panic,
// and what they understand they can write.
func FuzzUserData(f *testing.F) {
	si, err := SI{Href: "https://example.org/", Text: "wake", Action: "signal-high"}.Push()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(PushPorts.Header(), si...))
	f.Add(Ports{To: 4000, From: 1}.Header())
	f.Fuzz(func(t *testing.T, b []byte) {
		if text := FromDefault(b); !strings.ContainsRune(text, '\uFFFD') {
			if again, ok := Default(text); !ok || !bytes.Equal(again, b) {
				t.Errorf("%x is %q and that is %x, %v", b, text, again, ok)
			}
		}
		FromUCS2(b)
		p, data, err := SplitPorts(b)
		if err != nil {
			return
		}
		if back, _, err := SplitPorts(append(p.Header(), data...)); err != nil || back != p {
			t.Errorf("ports %+v come back as %+v, %v", p, back, err)
		}
		read, err := ParsePush(data)
		if err != nil || read.Action == "" {
			return
		}
		again, err := read.Push()
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", read, err)
		}
		if back, err := ParsePush(again); err != nil || back != read {
			t.Errorf("%+v comes back as %+v, %v", read, back, err)
		}
	})
}
