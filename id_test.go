package edition_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

const someUUID = "0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d"

func TestParseIDs(t *testing.T) {
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{someUUID, true},
		{strings.ToUpper(someUUID), true},
		{"0B3c8e7E-4d2f-4A6b-9C1d-2e5f7a8b9c0D", true},
		{"0b3c8e7e-4d2f-4a6b-bc1d-2e5f7a8b9c0d", true}, // variant 10: 8, 9, a, b
		{"", false},
		{"0b3c8e7e-4d2f-1a6b-9c1d-2e5f7a8b9c0d", false},   // version 1
		{"0b3c8e7e-4d2f-7a6b-9c1d-2e5f7a8b9c0d", false},   // version 7
		{"0b3c8e7e-4d2f-4a6b-cc1d-2e5f7a8b9c0d", false},   // variant 110
		{"00000000-0000-0000-0000-000000000000", false},   // nil
		{"0b3c8e7e4d2f4a6b9c1d2e5f7a8b9c0d", false},       // no dashes
		{"{" + someUUID + "}", false},                     // braces
		{"urn:uuid:" + someUUID, false},                   // RFC 9562 §4 URN
		{" " + someUUID, false},                           // blank
		{someUUID + "\n", false},                          // line end
		{"0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0", false},    // short
		{"0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0g", false},   // not hex
		{"0b3c8e7e_4d2f_4a6b_9c1d_2e5f7a8b9c0d", false},   // not dashes
		{"0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c٠", false},    // a digit, not ASCII
		{strings.Repeat("0b3c8e7e-4d2f-", 10_000), false}, // long
	} {
		u, err := edition.ParseUAID(c.text)
		a, err2 := edition.ParseAppID([]byte(c.text))
		if (err == nil) != c.ok || (err2 == nil) != c.ok {
			t.Errorf("%.60q: %v, %v, want ok %v", c.text, err, err2, c.ok)
			continue
		}
		if !c.ok {
			if !errors.Is(err, edition.ErrMalformed) || !errors.Is(err2, edition.ErrMalformed) {
				t.Errorf("%.60q: %v, %v are not ErrMalformed", c.text, err, err2)
			}
			if len(err.Error()) > 300 {
				t.Errorf("%.60q: the error repeats it all", c.text)
			}
			continue
		}
		if want := strings.ToLower(c.text); u.String() != want || a.String() != want {
			t.Errorf("%q became %q and %q", c.text, u, a)
		}
	}
}

func TestIDsInJSON(t *testing.T) {
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{`"` + someUUID + `"`, true},
		{`"\u0030b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d"`, true},
		{`null`, false},
		{`5`, false},
		{`""`, false},
		{`"\u12"`, false},
		{`{}`, false},
		{`"` + someUUID, false},
	} {
		var u edition.UAID
		var a edition.AppID
		err, err2 := json.Unmarshal([]byte(c.text), &u), json.Unmarshal([]byte(c.text), &a)
		if (err == nil) != c.ok || (err2 == nil) != c.ok {
			t.Errorf("%s: %v, %v, want ok %v", c.text, err, err2, c.ok)
		}
		if c.ok && (u.String() != someUUID || a.String() != someUUID) {
			t.Errorf("%s became %s and %s", c.text, u, a)
		}
	}
	var m map[edition.UAID]edition.AppID
	in := `{"` + someUUID + `":"` + someUUID + `"}`
	if err := json.Unmarshal([]byte(in), &m); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(m); err != nil || string(out) != in {
		t.Errorf("%s, %v", out, err)
	}
}

func TestNewIDsAreUUIDv4(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		for _, s := range []string{edition.NewUAID().String(), edition.NewAppID().String()} {
			if _, err := edition.ParseUAID(s); err != nil {
				t.Fatal(err)
			}
			if seen[s] {
				t.Fatalf("%s twice", s)
			}
			seen[s] = true
		}
	}
}

func TestUAIDIsLoggedShort(t *testing.T) {
	u, err := edition.ParseUAID(someUUID)
	if err != nil {
		t.Fatal(err)
	}
	var text, jsonText bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "uaid", u)
	slog.New(slog.NewJSONHandler(&jsonText, nil)).Info("m", slog.Any("uaid", u))
	for _, out := range []string{text.String(), jsonText.String()} {
		if strings.Contains(out, someUUID[9:]) || !strings.Contains(out, "0b3c8e7e…") {
			t.Errorf("logged %s", out)
		}
	}
}

func TestOrderOfKeys(t *testing.T) {
	var a, b, c edition.Key
	b.AppID[15] = 1
	c.UAID[0] = 1
	if a.Compare(b) >= 0 || b.Compare(c) >= 0 || c.Compare(a) <= 0 || c.Compare(c) != 0 {
		t.Error("keys are ordered by UAID, then AppID")
	}
	if a.UAID.Compare(c.UAID) >= 0 {
		t.Error("UAIDs are ordered by their bytes")
	}
}

func TestProofOf(t *testing.T) {
	secret := edition.NewSecret()
	p, err := edition.ProofOf(secret)
	if err != nil {
		t.Fatal(err)
	}
	again, err := edition.ProofOf(secret)
	if err != nil || !p.Equal(again) {
		t.Error("one secret has one proof")
	}
	other, err := edition.ProofOf(edition.NewSecret())
	if err != nil || p.Equal(other) {
		t.Error("two secrets have two proofs")
	}
	// printf 'edition.v1 secret\0' and 32 zero bytes, through sha256sum
	zero, err := edition.ProofOf(strings.Repeat("A", 43))
	if got := fmt.Sprintf("%x", zero); err != nil || got != zeroProof {
		t.Errorf("proof of 32 zero bytes is %s, %v", got, err)
	}
	for _, bad := range []string{
		"", secret[:42], secret + "A", secret + "=", secret[:42] + "\n", "\n" + secret[:42], secret[:42] + "*",
		strings.Repeat("A", 42) + "B", // bits behind the last byte
		strings.Repeat("+", 43), strings.Repeat("A", 1<<20),
	} {
		if _, err := edition.ProofOf(bad); !errors.Is(err, edition.ErrMalformed) {
			t.Errorf("%.50q: %v", bad, err)
		}
	}
}

func TestProofText(t *testing.T) {
	p, err := edition.ProofOf(edition.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var q edition.Proof
	if err := q.UnmarshalText(text); err != nil || p != q {
		t.Errorf("%s: %v", text, err)
	}
	for _, bad := range []string{"", string(text[:42]), string(text) + "A", strings.Repeat("*", 43)} {
		if err := q.UnmarshalText([]byte(bad)); !errors.Is(err, edition.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

const zeroProof = "9ba5c52eded4348cd13d743d942359574b29351862456640511fed446affd0e9"
