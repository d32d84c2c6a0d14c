package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

func TestCarriedIsOneLine(t *testing.T) {
	body := func(encoding, data string) *edition.Body {
		return &edition.Body{Encoding: encoding, Data: []byte(data), Urgency: edition.UrgencyHigh, TTL: time.Minute}
	}
	const rest = ", urgency high, ttl 1m0s"
	for want, b := range map[string]*edition.Body{
		"carries nothing" + rest:                                      body("", ""),
		"carries 1 byte, not encrypted" + rest + ": x":                body("", "x"),
		"carries 11 bytes, not encrypted" + rest + ": hé llo €":       body("", "hé llo €"),
		"carries 5 bytes, not encrypted" + rest + ": base64 YQpiCmM=": body("", "a\nb\nc"),
		"carries 4 bytes, not encrypted" + rest + ": base64 G1sybQ==": body("", "\x1b[2m"),
		"carries 2 bytes, not encrypted" + rest + ": base64 //4=":     body("", "\xff\xfe"),
		"carries 3 bytes, aes128gcm" + rest + ": base64 YWJj":         body("aes128gcm", "abc"),
		"carries 3 bytes, an unknown coding" + rest + ": base64 YWJj": body("\x1b]0;x\a", "abc"),
	} {
		if got := carried(b); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	long := &edition.Body{Encoding: "aesgcm", Data: bytes.Repeat([]byte{0xff}, edition.MaxBody)}
	if got := carried(long); !strings.HasSuffix(got, strings.Repeat("/", shownBytes/3*4)+"… (the first 48)") || !strings.Contains(got, "4096 bytes, aesgcm") {
		t.Errorf("got %s", got)
	}
}
