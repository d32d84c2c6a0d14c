package kicktest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// accept has a good target checked.
func accept(t *testing.T, s Subject, i int) json.RawMessage {
	t.Helper()
	return acceptRaw(t, s, s.Good(i))
}

func acceptRaw(t *testing.T, s Subject, raw json.RawMessage) json.RawMessage {
	t.Helper()
	target, err := s.Driver.Check(raw, s.From, s.Size)
	if err != nil {
		t.Fatalf("Check(%s): %v", raw, err)
	}
	return target
}

func testGood(t *testing.T, s Subject) {
	for i := range 3 {
		once, again := accept(t, s, i), accept(t, s, i)
		if string(once) != string(again) {
			t.Errorf("one target is stored as %s and as %s", once, again)
		}
		if !json.Valid(once) {
			t.Errorf("stored as %s, which is not JSON", once)
		}
		var padded map[string]any
		if err := json.Unmarshal(s.Good(i), &padded); err != nil {
			t.Fatalf("a good target that is no object: %v", err)
		}
		padded["driver"], padded["no_such_key"] = "any", []int{1, 2, 3}
		raw, err := json.Marshal(padded)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Driver.Check(raw, s.From, s.Size+len(raw))
		if err != nil || string(stored) != string(once) {
			t.Errorf("Check(%s) = %s, %v; want %s without what the driver does not use", raw, stored, err, once)
		}
	}
}

func testBad(t *testing.T, s Subject) {
	refuse := func(raw json.RawMessage, want error) {
		if got, err := s.Driver.Check(raw, s.From, s.Size); !errors.Is(err, want) || got != nil {
			t.Errorf("Check(%.80s) = %.80s, %v; want %v", raw, got, err, want)
		}
	}
	for _, raw := range s.Malformed {
		refuse(raw, edition.ErrMalformed)
	}
	for _, raw := range s.Forbidden {
		refuse(raw, edition.ErrForbidden)
	}
	for _, raw := range garbage() {
		refuse(raw, edition.ErrMalformed)
	}
}

// garbage is what no driver takes for a target.
func garbage() []json.RawMessage {
	good := `{"a":"b"}`
	all := []json.RawMessage{nil, {}, []byte("null"), []byte("[]"), []byte("7"), []byte(`""`), []byte("{}"), []byte("{}{}"), {0xff, 0xfe}}
	for i := range good {
		all = append(all, []byte(good[:i]))
	}
	return all
}

func testAim(t *testing.T, s Subject) {
	seen := make(map[string]int)
	for i := range 20 {
		target := accept(t, s, i)
		aim := s.Driver.Aim(target)
		if aim == "" {
			t.Errorf("Aim(%s) is empty", target)
		}
		if s.Driver.Aim(target) != aim {
			t.Errorf("Aim(%s) changes", target)
		}
		if other, twice := seen[aim]; twice {
			t.Errorf("targets %d and %d have the aim %q both", other, i, aim)
		}
		seen[aim] = i
	}
	for _, raw := range s.Alike {
		if got, want := s.Driver.Aim(acceptRaw(t, s, raw)), s.Driver.Aim(accept(t, s, 0)); got != want {
			t.Errorf("%s has the aim %q, %s %q: they hit the same", raw, got, s.Good(0), want)
		}
	}
	for _, raw := range garbage() {
		if aim := s.Driver.Aim(raw); aim != "" {
			t.Errorf("Aim(%.40q) = %q, want none", raw, aim)
		}
	}
}

func testShow(t *testing.T, s Subject) {
	target := accept(t, s, 0)
	plain := driver.Kick{Target: target}
	text, err := s.Driver.Show(plain)
	if err != nil || text == "" {
		t.Errorf("Show(%s) = %q, %v", target, text, err)
	}
	if again, err := s.Driver.Show(plain); err != nil || again != text {
		t.Errorf("Show(%s) is %q once and %q again, %v", target, text, again, err)
	}
	if other, err := s.Driver.Show(driver.Kick{Target: accept(t, s, 1)}); err != nil || other == text {
		t.Errorf("Show says the same of two targets: %q, %v", other, err)
	}
	coded, err := s.Driver.Show(driver.Kick{Target: target, Confirm: code})
	if err != nil || !strings.Contains(coded, code) {
		t.Errorf("Show of a kick with the code %s = %q, %v", code, coded, err)
	}
	for _, secret := range s.Secrets {
		if strings.Contains(text, secret) || strings.Contains(coded, secret) {
			t.Errorf("Show tells the secret %q", secret)
		}
	}
	for _, raw := range garbage() {
		if text, err := s.Driver.Show(driver.Kick{Target: raw}); !errors.Is(err, edition.ErrGone) {
			t.Errorf("Show(%.40q) = %q, %v; want ErrGone", raw, text, err)
		}
	}
	if s.Arrived != nil && s.Arrived() > 0 {
		t.Error("Show has sent something")
	}
}
